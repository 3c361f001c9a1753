"""Floor 6: recipes as graphs of cached stages."""
