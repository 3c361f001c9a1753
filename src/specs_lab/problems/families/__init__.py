"""Problem families, one file each; every module registers itself in ``FAMILIES``."""
