"""The shape of a model, read off the names and shapes of its weights: nothing is loaded."""

from __future__ import annotations

import json
import math
import re
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Tensors = Mapping[str, tuple[int, ...]]
"""Weights by name: their shapes."""

_TOWERS = (
    "visual.",
    "vision_tower.",
    "vision_model.",
    "multi_modal_projector.",
    "connector.",
    "vision_projection.",
)
_LAYER = re.compile(r"(?:^|\.)(?:layers|blocks|h|layer)\.(\d+)\.(.+)$")
_EMBEDDING = re.compile(r"(?:embed_tokens|wte|tok_embeddings)\.weight$")
_HEAD = re.compile(r"(?:^|\.)lm_head\.weight$")
_DEEPEST_HEADER = 100 << 20  # safetensors' own limit


class UnknownShape(ValueError):
    """Raised for weights whose names do not say what they are."""


@dataclass(frozen=True)
class Layers:
    """A stack of equal transformer layers.

    Attributes:
        count: How many.
        hidden: Width between layers.
        feed_forward: Width inside the feed-forward part; of the widest if there are several.
        query: Width of all queries of a token.
        key: Width of all keys of a token (as of all values).
        gated: Whether the feed-forward part has a gate beside its way up.
        query_norm: Whether queries and keys are normalised.
        parameters: Of all layers.
        matrices: Shape of every matrix of all layers, (out, in).
    """

    count: int
    hidden: int
    feed_forward: int
    query: int
    key: int
    gated: bool
    query_norm: bool
    parameters: int
    matrices: tuple[tuple[int, int], ...]


@dataclass(frozen=True, kw_only=True)
class ModelShape:
    """What memory depends on.

    Attributes:
        text: The language model's layers.
        tower: The vision tower's layers; None if there are none that are known.
        vocabulary: Rows of the embedding table.
        tied: Whether the output layer is the embedding table.
        embedding_parameters: Of the table, and of an output layer of its own.
        tower_parameters: Of all that sees pictures, the projector included.
        other_parameters: Of what is left, such as the last norm.
        heads: Attention heads of a layer of the language model.
        positions: Most positions of a sequence; None if the configuration does not say.
        patch: Side of a patch of a picture, in pixels; 0 if unknown.
        merge: Patches along a side that become one token.
    """

    text: Layers
    tower: Layers | None
    vocabulary: int
    tied: bool
    embedding_parameters: int
    tower_parameters: int
    other_parameters: int
    heads: int
    positions: int | None
    patch: int
    merge: int

    @property
    def parameters(self) -> int:
        """All of them, tied weights counted once."""
        return self.text.parameters + self.embedding_parameters + self.tower_parameters + self.other_parameters

    @property
    def text_parameters(self) -> int:
        """All but what sees pictures."""
        return self.parameters - self.tower_parameters


def shape_of(config: Mapping[str, Any], tensors: Tensors) -> ModelShape:
    """The shape of a model.

    Args:
        config: What its ``config.json`` holds.
        tensors: Its weights.

    Raises:
        UnknownShape: If there is no language model among the weights.
    """
    tower = {name: size for name, size in tensors.items() if any(part in name for part in _TOWERS)}
    text = {name: size for name, size in tensors.items() if name not in tower}
    table = next((size for name, size in text.items() if _EMBEDDING.search(name)), None)
    layers = _layers(text)
    if table is None or layers is None:
        raise UnknownShape("no embedding table or no layers of a language model among the weights")
    heads = [name for name in text if _HEAD.search(name)]
    own = _text_config(config)
    tied = bool(own.get("tie_word_embeddings", config.get("tie_word_embeddings", not heads))) or not heads
    embeddings = math.prod(table) * (1 if tied else 2)
    vision = config.get("vision_config") or {}
    merge = vision.get("spatial_merge_size") or config.get("scale_factor") or 1
    everything = sum(map(math.prod, text.values())) - (len(heads) * math.prod(table) if tied else 0)
    return ModelShape(
        text=layers,
        tower=_layers(tower),
        vocabulary=table[0],
        tied=tied,
        embedding_parameters=embeddings,
        tower_parameters=sum(map(math.prod, tower.values())),
        other_parameters=everything - embeddings - layers.parameters,
        heads=int(own.get("num_attention_heads") or max(1, layers.query // 128)),
        positions=own.get("max_position_embeddings"),
        patch=int(vision.get("patch_size") or vision.get("spatial_patch_size") or 0),
        merge=int(merge),
    )


def _text_config(config: Mapping[str, Any]) -> Mapping[str, Any]:
    nested = config.get("text_config") or config.get("llm_config")
    return nested if isinstance(nested, Mapping) else config


def _layers(tensors: Tensors) -> Layers | None:
    """The stack of layers among some weights; of several stacks the one with most weights."""
    stacks: dict[str, dict[str, tuple[int, ...]]] = {}
    for name, size in tensors.items():
        if found := _LAYER.search(name):
            stacks.setdefault(name[: found.start(1)], {})[f"{found.group(1)}.{found.group(2)}"] = size
    if not stacks:
        return None
    stack = max(stacks.values(), key=lambda some: sum(map(math.prod, some.values())))
    numbers = {name.partition(".")[0] for name in stack}
    first = {
        name.partition(".")[2]: size for name, size in stack.items() if name.startswith(f"{min(numbers, key=int)}.")
    }
    matrices = [(size[0], math.prod(size[1:])) for size in stack.values() if len(size) == 2]

    def width(*parts: str, side: int = 0) -> int:
        sizes = [size[side] for name, size in first.items() if name.endswith(parts) and len(size) == 2]
        return max(sizes, default=0)

    fused = width("qkv.weight", "qkv_proj.weight") // 3
    query = width("q_proj.weight", "query.weight") or fused
    hidden = width("q_proj.weight", "query.weight", "qkv.weight", "qkv_proj.weight", side=1)
    up = width("up_proj.weight", "fc1.weight", "linear_fc1.weight", "w1.weight")
    return Layers(
        count=len(numbers),
        hidden=hidden,
        feed_forward=up,
        query=query,
        key=width("k_proj.weight", "key.weight") or query,
        gated=any("gate_proj" in name for name in first),
        query_norm=any("q_norm" in name for name in first),
        parameters=sum(map(math.prod, stack.values())),
        matrices=tuple(sorted(matrices)),
    )


# --- where shapes come from ---


def tensors_of_files(files: Iterable[Path]) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the weights in safetensors files; only their headers are read.

    Raises:
        ValueError: If a file is no safetensors file.
    """
    found: dict[str, tuple[int, ...]] = {}
    for path in files:
        with path.open("rb") as file:
            start = file.read(8)
            length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
            if not 2 <= length <= _DEEPEST_HEADER:
                raise ValueError(f"{path} is no safetensors file")
            header = json.loads(file.read(length))
        found |= {name: tuple(entry["shape"]) for name, entry in header.items() if name != "__metadata__"}
    return found


def tensors_of_config(folder: Path) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the weights that a model of this ``config.json`` has; it is built without any memory."""
    import torch
    from transformers import AutoConfig, AutoModelForImageTextToText

    config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    with torch.device("meta"):
        model = AutoModelForImageTextToText.from_config(config, trust_remote_code=False)
    return {name: tuple(weight.shape) for name, weight in model.named_parameters()}


def _whole(folder: Path) -> list[Path]:
    """The files of weights in a folder; none if some of them are missing."""
    index = folder / "model.safetensors.index.json"
    files = sorted(folder.glob("*.safetensors"))
    if not index.is_file():
        return files
    wanted = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
    return files if wanted <= {path.name for path in files} else []


def shape_of_folder(folder: Path) -> ModelShape:
    """The shape of the model in a folder: of its weights where they are, else of its configuration.

    Raises:
        UnknownShape: If it cannot be told.
    """
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        files = _whole(folder)
        tensors = tensors_of_files(files) if files else tensors_of_config(folder)
    except (OSError, ValueError) as error:
        raise UnknownShape(" ".join(str(error).split())) from error
    return shape_of(config, tensors)
