"""Who writes the chosen sides of pairs; the group ``teacher``."""
