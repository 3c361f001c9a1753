"""The rule-based metrics of MEGA-Bench under their public names; a file for each group of related ones."""
