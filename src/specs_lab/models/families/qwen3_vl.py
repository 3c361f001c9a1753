"""Qwen3-VL: features of several depths of the tower enter the first layers of the language model (DeepStack)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from specs_lab.models.families.qwen_vl import QwenVL
from specs_lab.models.features import Features


class Qwen3VL(QwenVL):
    """As its forerunners, with deeper features; each depth has a projector of its own."""

    model_types = ("qwen3_vl",)
    projector_names = ("visual.merger", "visual.deepstack_merger_list")

    def _deeper(self, output: Any) -> list[Tensor]:
        """One for each depth that the tower gives."""
        return [torch.cat(list(layer)) for layer in output.deepstack_features or ()]

    def picture_inputs(self, features: Sequence[Features], places: Tensor) -> dict[str, Any]:
        """The deeper features, and where they are added."""
        deeper = [torch.cat(layer) for layer in list(zip(*features, strict=True))[1:]]
        return {"visual_pos_masks": places, "deepstack_visual_embeds": deeper} if deeper else {}
