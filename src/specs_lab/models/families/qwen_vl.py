"""Qwen2-VL (arXiv 2409.12191), Qwen2.5-VL (arXiv 2502.13923) and Qwen3-VL: patches of any grid, M-RoPE."""

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

    model_types = ("qwen2_vl", "qwen2_5_vl", "qwen3_vl")
    tower_names = ("visual",)

    @property
    def text_model(self) -> Any:
        """The language model without its head."""
        return self.core.model.language_model

    def positions(self, token_ids: Tensor, vision: Mapping[str, Tensor]) -> Tensor:
        """M-RoPE positions, (3, P): temporal, height, width."""
        kinds = (token_ids == self.image_id).int()[None]
        positions, _ = self.core.model.get_rope_index(token_ids[None], kinds, vision.get("image_grid_thw"))
        return positions[:, 0]

    def features(self, prompts: Sequence[Prompt]) -> list[Features]:
        """One run of the tower for all pictures; Qwen3-VL's deeper features (DeepStack) come along."""
        device = self.core.get_input_embeddings().weight.device
        joined = {name: value.to(device) for name, value in concatenated(prompts).items()}
        output = self.core.get_image_features(joined["pixel_values"], joined["image_grid_thw"])
        parts = [torch.cat(list(output.pooler_output))]
        parts += [torch.cat(list(layer)) for layer in getattr(output, "deepstack_features", None) or ()]
        sizes = [int((prompt.token_ids == self.image_id).sum()) for prompt in prompts]
        return list(zip(*(part.split(sizes) for part in parts), strict=True))

    def picture_inputs(self, features: Sequence[Features], places: Tensor) -> dict[str, Any]:
        """Qwen3-VL adds deeper features to the first layers of the language model."""
        deeper = [torch.cat(layer) for layer in list(zip(*features, strict=True))[1:]]
        return {"visual_pos_masks": places, "deepstack_visual_embeds": deeper} if deeper else {}

    def plain_inputs(self, prompts: Sequence[Prompt], token_ids: Tensor) -> dict[str, Tensor]:
        """Patches and grids of all rows, and which tokens are placeholders."""
        return {**concatenated(prompts), "mm_token_type_ids": (token_ids == self.image_id).int()}
