"""Qwen2-VL (arXiv 2409.12191)."""

from specs_lab.models.families.qwen_vl import QwenVL


class Qwen2VL(QwenVL):
    """Nothing beyond what the Qwen families share."""

    model_types = ("qwen2_vl",)
