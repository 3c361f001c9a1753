"""The embedded models: the real Qwen2.5-VL classes at toy size, with a byte-level tokenizer of their own.

``build`` makes a randomly initialised model and its processor; ``experiment=pretrain`` trains it, and the package
ships the results under ``specs_lab/checkpoints``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration, Qwen2Tokenizer, Qwen2VLImageProcessorPil

from specs_lab.models.processing import IMAGE_TOKEN, VIDEO_TOKEN, ImageOnlyQwen2_5_VLProcessor
from specs_lab.problems.canvas import SIZE

END_TOKEN = "<|im_end|>"
PAD_TOKEN = "<|endoftext|>"
SPECIAL_TOKENS = (
    PAD_TOKEN,
    "<|im_start|>",
    END_TOKEN,
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    IMAGE_TOKEN,
    VIDEO_TOKEN,
)
CHAT_TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n"
    "{% if m['content'] is string %}{{ m['content'] }}{% else %}{% for c in m['content'] %}"
    "{% if c['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% elif c['type'] == 'text' %}{{ c['text'] }}{% endif %}{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
_HEAD_DIM = 32
_MROPE_SECTION = (4, 6, 6)  # temporal, height, width; sums to half the head dimension


@dataclass(frozen=True)
class EmbeddedSize:
    """Shape of an embedded model; the head dimension is 32 throughout."""

    hidden: int
    layers: int
    heads: int
    kv_heads: int
    feed_forward: int
    vision_hidden: int
    vision_layers: int
    vision_feed_forward: int
    vision_heads: int = 4


SIZES: dict[str, EmbeddedSize] = {
    "tiny": EmbeddedSize(96, 3, 3, 1, 256, 64, 2, 192),
    "small": EmbeddedSize(128, 4, 4, 2, 384, 96, 2, 256),
}


def train_tokenizer(texts: Iterable[str], vocab_size: int = 512) -> Qwen2Tokenizer:
    """Learns a byte-level BPE in Qwen2's own layout.

    Args:
        texts: Training texts without special tokens.
        vocab_size: Size including the special tokens.
    """
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = Qwen2Tokenizer().backend_tokenizer.pre_tokenizer
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size - len(SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
        special_tokens=[],
    )
    bpe.train_from_iterator(texts, trainer)
    learned = json.loads(bpe.to_str())["model"]
    vocab: dict[str, int] = learned["vocab"]
    for token in SPECIAL_TOKENS:
        vocab[token] = len(vocab)
    merges: Any = [tuple(pair) if isinstance(pair, list) else tuple(pair.split(" ")) for pair in learned["merges"]]
    return Qwen2Tokenizer(
        vocab=vocab,
        merges=merges,
        pad_token=PAD_TOKEN,
        eos_token=END_TOKEN,
        unk_token=PAD_TOKEN,
        extra_special_tokens=list(SPECIAL_TOKENS[1:]),
        padding_side="left",
    )


def make_processor(tokenizer: Qwen2Tokenizer) -> ImageOnlyQwen2_5_VLProcessor:
    """The processor of an embedded model: 8 x 8 patches merged 2 x 2, so a 64 x 64 picture gives 16 tokens."""
    images = Qwen2VLImageProcessorPil(
        patch_size=8,
        merge_size=2,
        temporal_patch_size=2,
        size={"shortest_edge": SIZE * SIZE, "longest_edge": SIZE * SIZE},
    )
    return ImageOnlyQwen2_5_VLProcessor(image_processor=images, tokenizer=tokenizer, chat_template=CHAT_TEMPLATE)


def build(
    size: EmbeddedSize, tokenizer: Qwen2Tokenizer, seed: int, init_std: float = 0.06
) -> Qwen2_5_VLForConditionalGeneration:
    """A randomly initialised embedded model in float32.

    Args:
        size: The shape.
        tokenizer: Gives the vocabulary and the ids of special tokens.
        seed: Of the initialisation.
        init_std: Standard deviation of the initial weights; 0.02 learns far more slowly at this width.
    """
    if size.hidden != size.heads * _HEAD_DIM:
        raise ValueError(f"hidden size {size.hidden} is not heads {size.heads} x {_HEAD_DIM}")
    config = Qwen2_5_VLConfig(
        text_config=_text_config(size, tokenizer, init_std),
        vision_config=_vision_config(size),
        image_token_id=_token_id(tokenizer, IMAGE_TOKEN),
        video_token_id=_token_id(tokenizer, VIDEO_TOKEN),
        vision_start_token_id=_token_id(tokenizer, "<|vision_start|>"),
        vision_end_token_id=_token_id(tokenizer, "<|vision_end|>"),
        tie_word_embeddings=True,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Qwen2_5_VLForConditionalGeneration(config)


def _token_id(tokenizer: Qwen2Tokenizer, token: str) -> int:
    found: Any = tokenizer.convert_tokens_to_ids(token)
    return int(found)


def _text_config(size: EmbeddedSize, tokenizer: Qwen2Tokenizer, init_std: float) -> dict[str, Any]:
    return {
        "vocab_size": len(tokenizer),
        "hidden_size": size.hidden,
        "intermediate_size": size.feed_forward,
        "num_hidden_layers": size.layers,
        "num_attention_heads": size.heads,
        "num_key_value_heads": size.kv_heads,
        "max_position_embeddings": 512,
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "mrope_section": list(_MROPE_SECTION)},
        "bos_token_id": None,
        "eos_token_id": _token_id(tokenizer, END_TOKEN),
        "pad_token_id": _token_id(tokenizer, PAD_TOKEN),
        "initializer_range": init_std,
    }


def _vision_config(size: EmbeddedSize) -> dict[str, Any]:
    return {
        "depth": size.vision_layers,
        "hidden_size": size.vision_hidden,
        "intermediate_size": size.vision_feed_forward,
        "num_heads": size.vision_heads,
        "patch_size": 8,
        "spatial_merge_size": 2,
        "temporal_patch_size": 2,
        "window_size": SIZE,
        "out_hidden_size": size.hidden,
        "fullatt_block_indexes": list(range(size.vision_layers)),
    }
