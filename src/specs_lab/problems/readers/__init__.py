"""Readers of real datasets: one file each, from a raw row to a problem."""
