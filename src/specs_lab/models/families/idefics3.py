"""Idefics3 (arXiv 2408.12637)."""

from specs_lab.models.families.idefics import Idefics


class Idefics3(Idefics):
    """Nothing beyond what it shares with SmolVLM."""

    model_types = ("idefics3",)
