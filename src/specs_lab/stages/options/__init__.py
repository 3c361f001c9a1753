"""Options of the groups `recipe` and `paths`, and of the study as a whole."""
