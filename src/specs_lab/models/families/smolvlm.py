"""SmolVLM and SmolVLM2 (arXiv 2504.05299)."""

from specs_lab.models.families.idefics import Idefics


class SmolVLM(Idefics):
    """Nothing beyond what it shares with Idefics3."""

    model_types = ("smolvlm",)
