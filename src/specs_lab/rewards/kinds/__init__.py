"""The types of answers, one file for each family of them; see :mod:`specs_lab.rewards.kinds.base`."""
