"""Floor 5: the cells of distribution shift, and how a model is measured on them."""
