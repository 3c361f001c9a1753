"""Options of the group `trainer`."""
