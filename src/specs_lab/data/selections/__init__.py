"""How tasks are sorted by difficulty; the group ``select``."""
