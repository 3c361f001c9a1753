"""What differs between families of vision-language models, and how a model's family is found."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from specs_lab.models.features import Features
from specs_lab.models.prompts import Prompt


class Family(ABC):
    """A family, given one of its models.

    Args:
        core: The Hugging Face model with its language-model head.

    Attributes:
        model_types: Values of ``config.model_type`` that belong to the family.
        tower_names: What sees pictures, by its names inside ``core.model``, as far as it is there.
        projector_names: What turns what the tower saw into tokens, likewise: modules or single parameters. It may lie
            inside the tower; it is no part of it then.
        vision_tokens: Tokens that only pictures have, beside :attr:`image_id`.
        end_token: What ends an answer where that is not the tokenizer's end token.
        marks_in_text: The chat template puts pictures before all text: where one stands elsewhere, its placeholder has
            to be written into the text.
    """

    model_types: ClassVar[tuple[str, ...]]
    tower_names: ClassVar[tuple[str, ...]]
    projector_names: ClassVar[tuple[str, ...]]
    vision_tokens: ClassVar[tuple[str, ...]]
    end_token: ClassVar[str | None] = None
    marks_in_text: ClassVar[bool] = False

    def __init__(self, core: Any) -> None:
        self.core = core

    # -- parts of the model ------------------------------------------------------------------------------------------

    @property
    def image_id(self) -> int:
        """Id of the placeholder that a picture's features replace."""
        return int(self.core.config.image_token_id)

    @property
    @abstractmethod
    def text_model(self) -> Any:
        """The language model without its head."""

    @property
    def towers(self) -> list[nn.Module]:
        """What sees pictures, projectors that lie outside of it not among it."""
        return self._modules(self.tower_names)

    def tower_parameters(self) -> dict[str, nn.Parameter]:
        """Parameters of the tower alone, by their names inside ``core.model``."""
        of_projector = {id(parameter) for parameter in self.projector_parameters().values()}
        found = self._parameters(self.tower_names).items()
        return {name: parameter for name, parameter in found if id(parameter) not in of_projector}

    def projector_parameters(self) -> dict[str, nn.Parameter]:
        """Parameters of what lies between the tower and the language model, likewise."""
        return self._parameters(self.projector_names)

    def _part(self, name: str) -> nn.Module | nn.Parameter | None:
        """The part of ``core.model`` of this (dotted) name, if it is there."""
        part: Any = self.core.model
        for step in name.split("."):
            part = getattr(part, step, None)
        return part

    def _modules(self, names: Sequence[str]) -> list[nn.Module]:
        return [part for part in map(self._part, names) if isinstance(part, nn.Module)]

    def _parameters(self, names: Sequence[str]) -> dict[str, nn.Parameter]:
        found: dict[str, nn.Parameter] = {}
        for name in names:
            part = self._part(name)
            if isinstance(part, nn.Parameter):
                found[name] = part
            elif part is not None:
                found |= {f"{name}.{inner}": parameter for inner, parameter in part.named_parameters()}
        return found

    def lora_targets(self, *, tower: bool = False, projector: bool = False) -> str:
        """The linear layers that adapters go on, as a regular expression that matches their full names in ``core``.

        Args:
            tower: Those of the vision tower too.
            projector: Those of the projector too.

        Returns:
            What PEFT takes as ``target_modules``; the embedding and the output layer are never among them.
        """
        wanted = {id(module) for module in self.text_model.layers.modules()}
        of_projector = self._module_ids(self.projector_names)
        if tower:
            wanted |= self._module_ids(self.tower_names) - of_projector
        if projector:
            wanted |= of_projector
        # The output layer of torch's own attention block is never called as a layer, so an adapter there does nothing.
        bypassed = {id(module.out_proj) for module in self.core.modules() if isinstance(module, nn.MultiheadAttention)}
        names = [
            name
            for name, module in self.core.named_modules()
            if isinstance(module, nn.Linear) and id(module) in wanted - bypassed
        ]
        return "|".join(sorted({self._in_any_layer(name) for name in names}))

    def _in_any_layer(self, name: str) -> str:
        """A regular expression for a module's full name and those of its fellows in other layers."""
        steps = name.split(".")
        parents = [self.core.get_submodule(".".join(steps[:depth])) for depth in range(len(steps))]
        return r"\.".join(
            r"\d+" if isinstance(parent, nn.ModuleList) else re.escape(step)
            for step, parent in zip(steps, parents, strict=True)
        )

    def _module_ids(self, names: Sequence[str]) -> set[int]:
        return {id(inner) for module in self._modules(names) for inner in module.modules()}

    @property
    def shard_classes(self) -> tuple[type[nn.Module], ...]:
        """Classes of the layers that sharding wraps one by one: those of the language model and of the tower."""
        of_projector = self._module_ids(self.projector_names)
        stacks = [self.text_model.layers, *(stack for tower in self.towers for stack in _stacks(tower))]
        layers = [layer for stack in stacks for layer in stack if id(layer) not in of_projector]
        return tuple(dict.fromkeys(type(layer) for layer in layers))

    # -- prompts -----------------------------------------------------------------------------------------------------

    def vision_ids(self, tokenizer: Any) -> list[int]:
        """Ids of the tokens that only pictures have, ascending."""
        unknown = getattr(tokenizer, "unk_token_id", None)
        named = (tokenizer.convert_tokens_to_ids(token) for token in self.vision_tokens)
        return sorted({self.image_id, *(i for i in named if i is not None and i != unknown)})

    def end_id(self, tokenizer: Any) -> Any:
        """Id of the token that ends an answer; None if the tokenizer has no such token."""
        found = None if self.end_token is None else tokenizer.convert_tokens_to_ids(self.end_token)
        is_known = found is not None and found != getattr(tokenizer, "unk_token_id", None)
        return found if is_known else tokenizer.eos_token_id

    def agree_with(self, processor: Any) -> None:
        """Takes over into the model's configuration what a pixel budget changed in the processor, if both have it."""
        del processor

    @abstractmethod
    def expected_features(self, vision: Mapping[str, Tensor]) -> int | None:
        """How many placeholders the pictures of one prompt need, counted from what the tower is given; None: not known.

        Args:
            vision: The prompt's vision inputs; empty without pictures.
        """

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

    # -- for the families --------------------------------------------------------------------------------------------

    def _placed(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Vision inputs, where the model is."""
        device = self.core.get_input_embeddings().weight.device
        return {name: value.to(device) for name, value in inputs.items()}

    def _by_prompt(self, features: Tensor, prompts: Sequence[Prompt]) -> tuple[Tensor, ...]:
        """(all picture tokens, hidden) by the prompt that they belong to."""
        return features.split([int((prompt.token_ids == self.image_id).sum()) for prompt in prompts])


class OneAxisFamily(Family):
    """A family whose tokens, those of pictures too, are simply counted."""

    def positions(self, token_ids: Tensor, vision: Mapping[str, Tensor]) -> Tensor:
        """Counted from zero, (1, P)."""
        del vision
        return torch.arange(len(token_ids))[None]

    def lay_out_positions(self, position_ids: Tensor) -> Tensor:
        """One axis only: (B, T)."""
        return position_ids[0]


class UnknownFamily(OneAxisFamily):
    """Any other model of ``AutoModelForImageTextToText``: ordinary forward passes, one copy of the prompt a row.

    Vision inputs are taken to have one entry a picture (or row) in their first dimension.
    """

    model_types = ()
    tower_names = ("vision_tower", "visual", "vision_model")
    projector_names = ("multi_modal_projector", "connector")
    vision_tokens = ("<|image_pad|>", "<|video_pad|>", "<|vision_start|>", "<|vision_end|>", "<|vision_pad|>")

    @property
    def text_model(self) -> Any:
        """The language model without its head."""
        return self.core.model.language_model

    def expected_features(self, vision: Mapping[str, Tensor]) -> int | None:
        """Not known: the model itself compares when it runs."""
        del vision
        return None

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


def sides(size: int | Sequence[int]) -> tuple[int, int]:
    """(height, width) of a size that a configuration gives as one number or two."""
    return (size, size) if isinstance(size, int) else (int(size[0]), int(size[1]))


def _stacks(module: nn.Module) -> Iterator[nn.ModuleList]:
    """The outermost lists of layers inside a module."""
    for child in module.children():
        if isinstance(child, nn.ModuleList):
            yield child
        else:
            yield from _stacks(child)
