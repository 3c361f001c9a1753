"""Floor 1: what is minimised, one equation a file; pure functions of tensors."""
