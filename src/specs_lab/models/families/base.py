"""What differs between families of vision-language models, and how a model's family is found."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from specs_lab.models.features import Features
from specs_lab.models.prompts import Prompt


class Family(ABC):
    """A family, given one of its models.

    Args:
        core: The Hugging Face model with its language-model head.

    Attributes:
        model_types: Values of ``config.model_type`` that belong to the family.
        tower_names: What sees pictures, by its names inside ``core.model``: tower and projector, as far as it is there.
    """

    model_types: ClassVar[tuple[str, ...]]
    tower_names: ClassVar[tuple[str, ...]]

    def __init__(self, core: Any) -> None:
        self.core = core

    @property
    def image_id(self) -> int:
        """Id of the placeholder that a picture's features replace."""
        return int(self.core.config.image_token_id)

    @property
    def towers(self) -> list[torch.nn.Module]:
        """What sees pictures."""
        found = (getattr(self.core.model, name, None) for name in self.tower_names)
        return [tower for tower in found if tower is not None]

    @property
    @abstractmethod
    def text_model(self) -> Any:
        """The language model without its head."""

    @abstractmethod
    def positions(self, token_ids: Tensor, vision: Mapping[str, Tensor]) -> Tensor:
        """Positions of a prompt's tokens, (axes, P), as the model itself would count them."""

    @abstractmethod
    def features(self, prompts: Sequence[Prompt]) -> list[Features]:
        """Runs the vision tower on the pictures of prompts that have some."""

    def picture_inputs(self, features: Sequence[Features], places: Tensor) -> dict[str, Any]:
        """What the language model takes beside the embeddings, for features that enter later layers.

        Args:
            features: Of the prompts of the batch that have pictures, in order.
            places: (B, T) bool, where the placeholders are.
        """
        del features, places
        return {}

    def lay_out_positions(self, position_ids: Tensor) -> Tensor:
        """(axes, B, T) positions in the form that the language model takes."""
        return position_ids

    @abstractmethod
    def plain_inputs(self, prompts: Sequence[Prompt], token_ids: Tensor) -> dict[str, Tensor]:
        """What the whole model takes for pictures in an ordinary forward pass.

        Args:
            prompts: The prompt of each row.
            token_ids: (B, T) int64, padded.
        """

    def why_plain(self) -> str | None:
        """Why prompts cannot be shared in this model; None if they can."""
        config = self.core.config.get_text_config()
        kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
        if kinds != {"full_attention"}:
            return f"its layers are not all of full attention: {', '.join(sorted(kinds))}"
        if getattr(config, "attn_logit_softcapping", None):
            return "it caps attention scores"
        if getattr(config, "attention_dropout", 0.0):
            return "it drops attention weights at random"
        return None


class UnknownFamily(Family):
    """Any other model of ``AutoModelForImageTextToText``: ordinary forward passes, one copy of the prompt a row.

    Vision inputs are taken to have one entry a picture (or row) in their first dimension.
    """

    model_types = ()
    tower_names = ("vision_tower", "visual", "vision_model", "multi_modal_projector", "connector")

    @property
    def text_model(self) -> Any:
        """The language model without its head."""
        return self.core.model.language_model

    def positions(self, token_ids: Tensor, vision: Mapping[str, Tensor]) -> Tensor:
        """Counted from zero; the model counts for itself in ordinary passes."""
        del vision
        return torch.arange(len(token_ids))[None]

    def features(self, prompts: Sequence[Prompt]) -> list[Features]:
        """Never asked for: prompts are not shared."""
        raise NotImplementedError(f"prompts of {type(self.core).__name__} are not shared")

    def plain_inputs(self, prompts: Sequence[Prompt], token_ids: Tensor) -> dict[str, Tensor]:
        """The vision inputs one behind the other."""
        del token_ids
        return concatenated(prompts)

    def why_plain(self) -> str | None:
        """Always: how its positions and features work is not known."""
        return f"models of type {self.core.config.model_type} are not known to specs_lab"


def concatenated(prompts: Sequence[Prompt]) -> dict[str, Tensor]:
    """Vision inputs of all prompts that have pictures, joined along the first dimension."""
    seen = [prompt.vision for prompt in prompts if prompt.vision]
    return {name: torch.cat([vision[name] for vision in seen]) for name in (seen[0] if seen else ())}
