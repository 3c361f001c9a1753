"""The parts of rewards, one file each, and their weighted sum; the groups ``reward_term`` and ``reward``."""
