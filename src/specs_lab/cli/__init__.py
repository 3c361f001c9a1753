"""Floor 7: the command line. Checks the configuration, runs studies and sweeps of them, and shows their progress."""
