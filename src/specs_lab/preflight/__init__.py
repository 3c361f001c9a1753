"""What can be known before a run: whether there is room for it, whether its data and rewards are sound."""
