"""Floor 1: what is reported; pure numpy."""
