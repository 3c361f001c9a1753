"""What Idefics3 and SmolVLM share: tiles of one size, ordinary positions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from specs_lab.models.families.base import OneAxisFamily
from specs_lab.models.features import Features
from specs_lab.models.prompts import Prompt

_TILES = tuple(f"<row_{row}_col_{column}>" for row in range(1, 7) for column in range(1, 7))


class Idefics(OneAxisFamily):
    """Pictures are ``pixel_values`` (1, tiles, 3, height, width), optionally with ``pixel_attention_mask``."""

    tower_names = ("vision_model",)
    projector_names = ("connector",)
    vision_tokens = ("<image>", "<fake_token_around_image>", "<global-img>", *_TILES)
    end_token = "<end_of_utterance>"

    @property
    def text_model(self) -> Any:
        """The language model without its head."""
        return self.core.model.text_model

    def expected_features(self, vision: Mapping[str, Tensor]) -> int:
        """Equally many for each tile: its patches, shuffled into fewer."""
        if not vision:
            return 0
        _, tiles, _, height, width = vision["pixel_values"].shape
        patch = int(self.core.config.vision_config.patch_size)
        return tiles * ((height // patch) * (width // patch) // int(self.core.config.scale_factor) ** 2)

    def features(self, prompts: Sequence[Prompt]) -> list[Features]:
        """One run of the tower for all tiles."""
        joined = self._placed(self.plain_inputs(prompts, torch.empty(0)))
        output: Any = self.core.model.get_image_features(**joined, return_dict=True).pooler_output
        flat = torch.cat([part.reshape(-1, part.shape[-1]) for part in output])
        return [(part,) for part in self._by_prompt(flat, prompts)]

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
