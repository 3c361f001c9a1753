"""What Qwen2-VL, Qwen2.5-VL and Qwen3-VL share: patches of any grid, M-RoPE."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from specs_lab.models.families.base import Family, concatenated
from specs_lab.models.features import Features
from specs_lab.models.prompts import Prompt


class QwenVL(Family):
    """Pictures are ``pixel_values`` (patches, patch dim) with ``image_grid_thw`` (pictures, 3)."""

    tower_names = ("visual",)
    projector_names = ("visual.merger",)
    vision_tokens = ("<|image_pad|>", "<|video_pad|>", "<|vision_start|>", "<|vision_end|>", "<|vision_pad|>")

    @property
    def text_model(self) -> Any:
        """The language model without its head."""
        return self.core.model.language_model

    def expected_features(self, vision: Mapping[str, Tensor]) -> int:
        """One for each square of patches that the projector merges."""
        if not vision:
            return 0
        merge = int(self.core.config.vision_config.spatial_merge_size)
        return int(vision["image_grid_thw"].prod(-1).sum()) // merge**2

    def positions(self, token_ids: Tensor, vision: Mapping[str, Tensor]) -> Tensor:
        """M-RoPE positions, (3, P): temporal, height, width."""
        kinds = (token_ids == self.image_id).int()[None]
        positions, _ = self.core.model.get_rope_index(token_ids[None], kinds, vision.get("image_grid_thw"))
        return positions[:, 0]

    def features(self, prompts: Sequence[Prompt]) -> list[Features]:
        """One run of the tower for all pictures; what later layers add comes along."""
        joined = self._placed(concatenated(prompts))
        output = self.core.get_image_features(joined["pixel_values"], joined["image_grid_thw"])
        parts = [torch.cat(list(output.pooler_output)), *self._deeper(output)]
        return list(zip(*(self._by_prompt(part, prompts) for part in parts), strict=True))

    def _deeper(self, output: Any) -> list[Tensor]:
        """Features for later layers, each (picture tokens, hidden)."""
        del output
        return []

    def plain_inputs(self, prompts: Sequence[Prompt], token_ids: Tensor) -> dict[str, Tensor]:
        """Patches and grids of all rows, and which tokens are placeholders."""
        return {**concatenated(prompts), "mm_token_type_ids": (token_ids == self.image_id).int()}
