"""Floor 4: how the shipped base checkpoints were made. First the vision tower, then the language model on top.

The base model is meant to be what SPECS starts from: it solves the problems, but follows the requested output format
in a minority of cases, and mostly where the prompt looks familiar.
"""
