"""LLaVA-OneVision (arXiv 2408.03326): tiles of one size over a grid that fits the picture, unpadded after the tower."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from specs_lab.models.families.base import OneAxisFamily
from specs_lab.models.features import Features
from specs_lab.models.prompts import Prompt


class LlavaOnevision(OneAxisFamily):
    """Pictures are ``pixel_values`` (pictures, tiles, 3, height, width) with ``image_sizes`` and ``batch_num_images``.

    A picture that stands alone in its prompt is cut into tiles; several are seen whole, one tile each.
    """

    model_types = ("llava_onevision",)
    tower_names = ("vision_tower",)
    projector_names = ("multi_modal_projector", "image_newline")
    vision_tokens = ("<image>", "<video>")
    marks_in_text = True

    @property
    def text_model(self) -> Any:
        """The language model without its head."""
        return self.core.model.language_model

    def agree_with(self, processor: Any) -> None:
        """Both have the list of grids; the model tells from it how a picture was cut."""
        grids = getattr(getattr(processor, "image_processor", None), "image_grid_pinpoints", None)
        if grids is not None:
            self.core.config.image_grid_pinpoints = [list(grid) for grid in grids]

    def expected_features(self, vision: Mapping[str, Tensor]) -> int:
        """By the model's own unpadding, run on features of one number each."""
        if not vision:
            return 0
        config = self.core.config
        patches = (int(config.vision_config.image_size) // int(config.vision_config.patch_size)) ** 2
        alone = int(vision["batch_num_images"].sum()) == 1
        tiles = [torch.zeros(picture.shape[0] if alone else 1, patches, 1) for picture in vision["pixel_values"]]
        _, lengths = self.core.model.pack_image_features(
            tiles, vision["image_sizes"], torch.zeros(1), config.vision_aspect_ratio
        )
        return int(lengths.sum())

    def features(self, prompts: Sequence[Prompt]) -> list[Features]:
        """One run of the tower for all tiles."""
        joined = self._placed(self.plain_inputs(prompts, torch.empty(0)))
        output: Any = self.core.model.get_image_features(**joined, return_dict=True).pooler_output
        return [(part,) for part in self._by_prompt(torch.cat(list(output)), prompts)]

    def plain_inputs(self, prompts: Sequence[Prompt], token_ids: Tensor) -> dict[str, Tensor]:
        """Pictures of all rows; those of fewer tiles are filled up with empty ones, which the model leaves out."""
        del token_ids
        seen = [prompt.vision for prompt in prompts if prompt.vision]
        joined = {name: torch.cat([vision[name] for vision in seen]) for name in _SMALL if seen}
        if seen:
            most = max(vision["pixel_values"].shape[1] for vision in seen)
            tiles = [pad(v, [0, 0] * 3 + [0, most - v.shape[1]]) for v in (vision["pixel_values"] for vision in seen)]
            joined["pixel_values"] = torch.cat(tiles)
        return joined


_SMALL = ("image_sizes", "batch_num_images")
