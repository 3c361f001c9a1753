"""Floor 3: sampling from a model."""
