"""Work that may hang, crash or eat memory, in processes that can be killed."""
