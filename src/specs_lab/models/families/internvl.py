"""InternVL as transformers has it, versions 2.5 to 3.5 (arXiv 2504.10479): tiles of one size and a thumbnail."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from specs_lab.models.families.base import OneAxisFamily, concatenated, sides
from specs_lab.models.features import Features
from specs_lab.models.prompts import Prompt


class InternVL(OneAxisFamily):
    """Pictures are ``pixel_values`` (tiles, 3, height, width), those of a prompt's pictures one behind the other."""

    model_types = ("internvl",)
    tower_names = ("vision_tower",)
    projector_names = ("multi_modal_projector",)
    vision_tokens = ("<IMG_CONTEXT>", "<img>", "</img>", "<video>")

    @property
    def text_model(self) -> Any:
        """The language model without its head."""
        return self.core.model.language_model

    def expected_features(self, vision: Mapping[str, Tensor]) -> int:
        """Equally many for each tile: its patches, shuffled into fewer."""
        if not vision:
            return 0
        tiles, _, height, width = vision["pixel_values"].shape
        rows, columns = sides(self.core.config.vision_config.patch_size)
        share = float(self.core.config.downsample_ratio)
        return tiles * int((height // rows) * share) * int((width // columns) * share)

    def features(self, prompts: Sequence[Prompt]) -> list[Features]:
        """One run of the tower for all tiles."""
        joined = self._placed(concatenated(prompts))
        output: Any = self.core.model.get_image_features(**joined, return_dict=True).pooler_output
        return [(part,) for part in self._by_prompt(output.flatten(0, 1), prompts)]

    def plain_inputs(self, prompts: Sequence[Prompt], token_ids: Tensor) -> dict[str, Tensor]:
        """Tiles of all rows."""
        del token_ids
        return concatenated(prompts)
