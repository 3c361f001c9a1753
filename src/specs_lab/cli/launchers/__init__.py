"""Hydra launchers, which run the jobs of a sweep; all give each job processes of its own."""
