"""Idefics3 (arXiv 2408.12637) and SmolVLM (arXiv 2504.05299): tiles of one size, ordinary positions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from specs_lab.models.families.base import Family
from specs_lab.models.features import Features
from specs_lab.models.prompts import Prompt


class Idefics(Family):
    """Pictures are ``pixel_values`` (1, tiles, 3, height, width), optionally with ``pixel_attention_mask``."""

    model_types = ("idefics3", "smolvlm")
    tower_names = ("vision_model", "connector")

    @property
    def text_model(self) -> Any:
        """The language model without its head."""
        return self.core.model.text_model

    def positions(self, token_ids: Tensor, vision: Mapping[str, Tensor]) -> Tensor:
        """Counted from zero, (1, P)."""
        del vision
        return torch.arange(len(token_ids))[None]

    def features(self, prompts: Sequence[Prompt]) -> list[Features]:
        """One run of the tower for all tiles."""
        device = self.core.get_input_embeddings().weight.device
        joined = {name: value.to(device) for name, value in self.plain_inputs(prompts, torch.empty(0)).items()}
        output: Any = self.core.model.get_image_features(**joined, return_dict=True).pooler_output
        flat = torch.cat([part.reshape(-1, part.shape[-1]) for part in output])
        sizes = [int((prompt.token_ids == self.image_id).sum()) for prompt in prompts]
        return [(part,) for part in flat.split(sizes)]

    def lay_out_positions(self, position_ids: Tensor) -> Tensor:
        """One axis only: (B, T)."""
        return position_ids[0]

    def plain_inputs(self, prompts: Sequence[Prompt], token_ids: Tensor) -> dict[str, Tensor]:
        """Tiles of each row; rows with fewer are filled up with empty tiles, which the model leaves out."""
        del token_ids
        seen = [prompt.vision for prompt in prompts if prompt.vision]
        joined: dict[str, Tensor] = {}
        for name in seen[0] if seen else ():
            most = max(vision[name].shape[1] for vision in seen)
            filled = [pad(v, [0, 0] * (v.ndim - 2) + [0, most - v.shape[1]]) for v in (vision[name] for vision in seen)]
            joined[name] = torch.cat(filled)
        return joined
