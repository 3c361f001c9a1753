"""Where models come from; one file an option of the group `model`."""
