"""Floor 1: what is rewarded: formats, graders and their composition."""
