"""Qwen2.5-VL (arXiv 2502.13923); the shipped models are of this family."""

from specs_lab.models.families.qwen_vl import QwenVL


class Qwen2_5VL(QwenVL):  # noqa: N801 - named as the models are
    """Nothing beyond what the Qwen families share: the windows of its tower are the tower's own matter."""

    model_types = ("qwen2_5_vl",)
