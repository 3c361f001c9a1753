"""Where problems come from; one file an option of the group `problems`."""
