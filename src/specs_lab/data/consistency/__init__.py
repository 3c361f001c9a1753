"""Who says whether a reasoning leads to its answer; the group ``consistency``."""
