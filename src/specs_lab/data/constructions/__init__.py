"""How preference pairs are made; one file an option of the group `data`."""
