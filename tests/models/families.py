"""Tiny random models of every family, with prompts made by hand (their processors need torchvision or a hub)."""

from types import SimpleNamespace
from typing import Any

import torch
from transformers import (
    Idefics3Config,
    Idefics3ForConditionalGeneration,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2VLConfig,
    Qwen2VLForConditionalGeneration,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
    SmolVLMConfig,
    SmolVLMForConditionalGeneration,
)

from specs_lab.models.prompts import Prompt
from specs_lab.models.vlm import VLM

VOCAB, PAD, END, IMAGE, VIDEO, VISION_START, VISION_END = 128, 0, 1, 2, 3, 4, 5
_TEXT: dict[str, Any] = {
    "vocab_size": VOCAB,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "bos_token_id": None,
    "eos_token_id": END,
    "pad_token_id": PAD,
    "initializer_range": 0.1,
}
_MROPE = {"rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [2, 3, 3]}}
_IDS: dict[str, Any] = {
    "image_token_id": IMAGE,
    "video_token_id": VIDEO,
    "vision_start_token_id": VISION_START,
    "vision_end_token_id": VISION_END,
}


def _qwen2() -> Any:
    vision = {"depth": 2, "embed_dim": 32, "hidden_size": 64, "num_heads": 2, "mlp_ratio": 2, "patch_size": 4}
    config = Qwen2VLConfig(text_config={**_TEXT, **_MROPE}, vision_config=vision, tie_word_embeddings=True, **_IDS)
    return Qwen2VLForConditionalGeneration(config)


def _qwen2_5() -> Any:
    vision = {"depth": 2, "hidden_size": 32, "out_hidden_size": 64, "num_heads": 2, "intermediate_size": 48}
    vision |= {"patch_size": 4, "window_size": 16, "fullatt_block_indexes": [1]}
    config = Qwen2_5_VLConfig(text_config={**_TEXT, **_MROPE}, vision_config=vision, tie_word_embeddings=False, **_IDS)
    return Qwen2_5_VLForConditionalGeneration(config)


def _qwen3() -> Any:
    vision = {"depth": 3, "hidden_size": 32, "out_hidden_size": 64, "num_heads": 2, "intermediate_size": 48}
    vision |= {"patch_size": 4, "deepstack_visual_indexes": [0, 1], "num_position_embeddings": 64}
    config = Qwen3VLConfig(
        text_config={**_TEXT, **_MROPE, "head_dim": 16}, vision_config=vision, tie_word_embeddings=True, **_IDS
    )
    return Qwen3VLForConditionalGeneration(config)


_TILES = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}
_TILES |= {"image_size": 16, "patch_size": 4}


def _idefics3() -> Any:
    text = {"model_type": "llama", **_TEXT}
    config = Idefics3Config(
        text_config=text, vision_config=_TILES, scale_factor=2, image_token_id=IMAGE, tie_word_embeddings=False
    )
    return Idefics3ForConditionalGeneration(config)


def _smolvlm() -> Any:
    text = {"model_type": "llama", **_TEXT}
    config = SmolVLMConfig(
        text_config=text, vision_config=_TILES, scale_factor=2, image_token_id=IMAGE, tie_word_embeddings=False
    )
    return SmolVLMForConditionalGeneration(config)


FAMILIES = {"qwen2_vl": _qwen2, "qwen2_5_vl": _qwen2_5, "qwen3_vl": _qwen3, "idefics3": _idefics3, "smolvlm": _smolvlm}


class _Tokenizer:
    """As much of a tokenizer as the wrapper needs."""

    eos_token_id, pad_token_id = END, PAD

    def convert_tokens_to_ids(self, token: str) -> int | None:
        return {"<|image_pad|>": IMAGE, "<|video_pad|>": VIDEO}.get(token)


def tiny(name: str, **options: Any) -> VLM:
    """A model of a family with fixed random weights; models of the same name are equal."""
    torch.manual_seed(0)
    return VLM(FAMILIES[name]().eval(), SimpleNamespace(tokenizer=_Tokenizer()), **options)


def prompt(vlm: VLM, seed: int, text: int, size: tuple[int, int] | None) -> Prompt:
    """A prompt of random tokens, with a random picture of ``size`` patch rows and columns or none."""
    generator = torch.Generator().manual_seed(seed)

    def words(count: int) -> torch.Tensor:
        return torch.randint(10, VOCAB, (count,), generator=generator)

    vision: dict[str, torch.Tensor] = {}
    placeholders = 0
    if size is not None and vlm.core.config.model_type.startswith("qwen"):
        grid = torch.tensor([[1, *size]])
        patch = 3 * 2 * 4 * 4
        vision = {"pixel_values": torch.randn(int(grid.prod()), patch, generator=generator), "image_grid_thw": grid}
        placeholders = int(grid.prod()) // 4
    elif size is not None:
        tiles = size[0] // 2
        vision = {"pixel_values": torch.randn(1, tiles, 3, 16, 16, generator=generator)}
        placeholders = tiles * 4  # 4 x 4 patches, shuffled 2 x 2
    picture = torch.tensor([VISION_START, *[IMAGE] * placeholders, VISION_END]) if placeholders else words(1)
    token_ids = torch.cat([words(3), picture, words(text)])
    return Prompt(token_ids, vlm.family.positions(token_ids, vision), vision, f"picture {seed}")
