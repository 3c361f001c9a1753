"""Shapes of published models, so that nothing needs to be downloaded to say what they cost."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from specs_lab.preflight.shapes import ModelShape, shape_of


@dataclass(frozen=True, kw_only=True)
class _Text:
    hidden: int
    layers: int
    heads: int
    kv_heads: int
    feed_forward: int
    vocabulary: int
    tied: bool = False
    tower_feed_forward: int = 3420


_QWEN: dict[str, _Text] = {
    "Qwen/Qwen2.5-VL-3B-Instruct": _Text(
        hidden=2048, layers=36, heads=16, kv_heads=2, feed_forward=11008, vocabulary=151936, tied=True
    ),
    "Qwen/Qwen2.5-VL-7B-Instruct": _Text(
        hidden=3584, layers=28, heads=28, kv_heads=4, feed_forward=18944, vocabulary=152064
    ),
    "Qwen/Qwen2.5-VL-32B-Instruct": _Text(
        hidden=5120,
        layers=64,
        heads=40,
        kv_heads=8,
        feed_forward=27648,
        vocabulary=152064,
        tower_feed_forward=3456,
    ),
    "Qwen/Qwen2.5-VL-72B-Instruct": _Text(
        hidden=8192,
        layers=80,
        heads=64,
        kv_heads=8,
        feed_forward=29568,
        vocabulary=152064,
        tower_feed_forward=3456,
    ),
}
"""From each repository's config.json."""
KNOWN = tuple(_QWEN)
_TOWER_LAYERS, _TOWER_HIDDEN, _HEAD, _PATCH, _MERGE = 32, 1280, 128, 14, 2


@cache
def shape_of_repo(repo: str) -> ModelShape | None:
    """The shape of a model of the hub; None if it is not among :data:`KNOWN`."""
    text = _QWEN.get(repo)
    if text is None:
        return None
    config = {
        "tie_word_embeddings": text.tied,
        "num_attention_heads": text.heads,
        "max_position_embeddings": 128000,
        "vision_config": {"patch_size": _PATCH, "spatial_merge_size": _MERGE},
    }
    return shape_of(config, {**_text_tensors(text), **_tower_tensors(text)})


def _text_tensors(text: _Text) -> dict[str, tuple[int, ...]]:
    hidden, wide = text.hidden, text.feed_forward
    query, key = text.heads * _HEAD, text.kv_heads * _HEAD
    table = (text.vocabulary, hidden)
    tensors: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": table, "model.norm.weight": (hidden,)}
    if not text.tied:
        tensors["lm_head.weight"] = table
    for number in range(text.layers):
        at = f"model.layers.{number}."
        for name, width in (("q", query), ("k", key), ("v", key)):
            tensors[f"{at}self_attn.{name}_proj.weight"] = (width, hidden)
            tensors[f"{at}self_attn.{name}_proj.bias"] = (width,)
        tensors[f"{at}self_attn.o_proj.weight"] = (hidden, query)
        tensors[f"{at}mlp.gate_proj.weight"] = tensors[f"{at}mlp.up_proj.weight"] = (wide, hidden)
        tensors[f"{at}mlp.down_proj.weight"] = (hidden, wide)
        tensors[f"{at}input_layernorm.weight"] = tensors[f"{at}post_attention_layernorm.weight"] = (hidden,)
    return tensors


def _tower_tensors(text: _Text) -> dict[str, tuple[int, ...]]:
    hidden, wide, merged = _TOWER_HIDDEN, text.tower_feed_forward, _TOWER_HIDDEN * _MERGE**2
    tensors: dict[str, tuple[int, ...]] = {"visual.patch_embed.proj.weight": (hidden, 3, 2, _PATCH, _PATCH)}
    for number in range(_TOWER_LAYERS):
        at = f"visual.blocks.{number}."
        shapes = {
            "attn.qkv": (3 * hidden, hidden),
            "attn.proj": (hidden, hidden),
            "mlp.gate_proj": (wide, hidden),
            "mlp.up_proj": (wide, hidden),
            "mlp.down_proj": (hidden, wide),
        }
        for name, size in shapes.items():
            tensors[f"{at}{name}.weight"] = size
            tensors[f"{at}{name}.bias"] = size[:1]
        tensors[f"{at}norm1.weight"] = tensors[f"{at}norm2.weight"] = (hidden,)
    for name, size in (("mlp.0", (merged, merged)), ("mlp.2", (text.hidden, merged))):
        tensors[f"visual.merger.{name}.weight"], tensors[f"visual.merger.{name}.bias"] = size, size[:1]
    tensors["visual.merger.ln_q.weight"] = (hidden,)
    return tensors
