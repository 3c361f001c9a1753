"""Gemma 3 (arXiv 2503.19786): pictures of one size, seen in both directions; most layers see a window only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from specs_lab.models.families.base import OneAxisFamily, concatenated
from specs_lab.models.features import Features
from specs_lab.models.prompts import Prompt


class Gemma3(OneAxisFamily):
    """Pictures are ``pixel_values`` (pictures, 3, height, width). Prompts are not shared."""

    model_types = ("gemma3",)
    tower_names = ("vision_tower",)
    projector_names = ("multi_modal_projector",)
    vision_tokens = ("<image_soft_token>", "<start_of_image>", "<end_of_image>")
    end_token = "<end_of_turn>"

    @property
    def text_model(self) -> Any:
        """The language model without its head."""
        return self.core.model.language_model

    def expected_features(self, vision: Mapping[str, Tensor]) -> int:
        """Equally many for each picture."""
        return len(vision["pixel_values"]) * int(self.core.config.mm_tokens_per_image) if vision else 0

    def features(self, prompts: Sequence[Prompt]) -> list[Features]:
        """Never asked for: prompts are not shared."""
        raise NotImplementedError(f"prompts of {type(self.core).__name__} are not shared")

    def plain_inputs(self, prompts: Sequence[Prompt], token_ids: Tensor) -> dict[str, Tensor]:
        """Pictures of all rows, and which tokens see each other in both directions."""
        return {**concatenated(prompts), "token_type_ids": (token_ids == self.image_id).long()}

    def why_plain(self) -> str | None:
        """Always: neither windows nor attention in both directions are what shared prompts know."""
        return "the tokens of its pictures see each other in both directions, and most of its layers see a window only"
