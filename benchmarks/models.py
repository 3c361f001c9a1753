"""Random-weight Qwen2.5-VL checkpoints of given shapes, as ordinary Hugging Face folders that both sides load."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from transformers import (
    PreTrainedTokenizerFast,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2VLImageProcessorPil,
)

from benchmarks import tokens
from specs_lab.models.processing import ImageOnlyQwen2_5_VLProcessor

PATCH, MERGE = 14, 2
CACHE_VARIABLE = "SPECS_LAB_BENCH_CACHE"


@dataclass(frozen=True, kw_only=True)
class Shape:
    """Sizes of a Qwen2.5-VL; the vision tower's windows are 112 px and its patches 14 px throughout.

    Attributes:
        full_attention: Layers of the vision tower that attend over the whole picture, not over windows.
    """

    hidden: int
    layers: int
    heads: int
    kv_heads: int
    feed_forward: int
    vocab: int
    tied: bool
    vision_layers: int
    vision_hidden: int
    vision_feed_forward: int
    vision_heads: int
    full_attention: tuple[int, ...]

    @property
    def init_std(self) -> float:
        """Standard deviation of the initial weights.

        With the usual 0.02 greedy answers repeat one token; with this they depend on the prompt and vary.
        """
        return 1.44 / self.hidden**0.5


_MINI = Shape(
    hidden=256,
    layers=4,
    heads=4,
    kv_heads=2,
    feed_forward=704,
    vocab=2048,
    tied=True,
    vision_layers=2,
    vision_hidden=128,
    vision_feed_forward=256,
    vision_heads=4,
    full_attention=(1,),
)
# https://huggingface.co/Qwen/Qwen2.5-VL-3B-Instruct/blob/main/config.json, and 7B
_3B = Shape(
    hidden=2048,
    layers=36,
    heads=16,
    kv_heads=2,
    feed_forward=11008,
    vocab=151936,
    tied=True,
    vision_layers=32,
    vision_hidden=1280,
    vision_feed_forward=3420,
    vision_heads=16,
    full_attention=(7, 15, 23, 31),
)
_7B = replace(_3B, hidden=3584, layers=28, heads=28, kv_heads=4, feed_forward=18944, vocab=152064, tied=False)
SHAPES: dict[str, Shape] = {"mini": _MINI, "mini_vocab": replace(_MINI, vocab=151936), "3b": _3B, "7b": _7B}


def make_processor(tokenizer: PreTrainedTokenizerFast) -> ImageOnlyQwen2_5_VLProcessor:
    """The package's image-only processor; pictures from 28 px to 1024 px a side, in steps of 28, pass as they are."""
    side = PATCH * MERGE
    images = Qwen2VLImageProcessorPil(
        patch_size=PATCH,
        merge_size=MERGE,
        temporal_patch_size=2,
        size={"shortest_edge": side * side, "longest_edge": 1024 * 1024},
    )
    return ImageOnlyQwen2_5_VLProcessor(image_processor=images, tokenizer=tokenizer, chat_template=tokens.CHAT_TEMPLATE)


def make_config(shape: Shape, tokenizer: PreTrainedTokenizerFast) -> Qwen2_5_VLConfig:
    """The configuration of a shape."""

    def id_of(token: str) -> int:
        found: Any = tokenizer.convert_tokens_to_ids(token)
        return int(found)

    half = shape.hidden // shape.heads // 2  # M-RoPE: a quarter temporal, the rest height and width
    text = {
        "vocab_size": shape.vocab,
        "hidden_size": shape.hidden,
        "intermediate_size": shape.feed_forward,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads,
        "max_position_embeddings": 32768,
        "tie_word_embeddings": shape.tied,
        "initializer_range": shape.init_std,
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": 1e6,
            "mrope_section": [half // 4, 3 * half // 8, 3 * half // 8],
        },
        "bos_token_id": None,
        "eos_token_id": id_of(tokens.END_TOKEN),
        "pad_token_id": id_of(tokens.PAD_TOKEN),
    }
    vision = {
        "depth": shape.vision_layers,
        "hidden_size": shape.vision_hidden,
        "intermediate_size": shape.vision_feed_forward,
        "num_heads": shape.vision_heads,
        "patch_size": PATCH,
        "spatial_merge_size": MERGE,
        "temporal_patch_size": 2,
        "window_size": 112,
        "out_hidden_size": shape.hidden,
        "fullatt_block_indexes": list(shape.full_attention),
        "initializer_range": shape.init_std,
    }
    return Qwen2_5_VLConfig(
        text_config=text,
        vision_config=vision,
        image_token_id=id_of(tokens.IMAGE_TOKEN),
        video_token_id=id_of(tokens.VIDEO_TOKEN),
        vision_start_token_id=id_of(tokens.VISION_START),
        vision_end_token_id=id_of(tokens.VISION_END),
        tie_word_embeddings=shape.tied,
    )


def build(shape: Shape, folder: Path, *, dtype: torch.dtype = torch.float32, device: str = "cpu") -> None:
    """Writes a checkpoint; the weights are drawn on ``device``, which for the large shapes had better be a GPU."""
    tokenizer = tokens.make_tokenizer(shape.vocab)
    torch.manual_seed(0)
    with torch.device(device):
        model = Qwen2_5_VLForConditionalGeneration._from_config(make_config(shape, tokenizer), dtype=dtype)
    generation: Any = model.generation_config
    generation.eos_token_id, generation.pad_token_id = tokenizer.eos_token_id, tokenizer.pad_token_id
    model.save_pretrained(folder)
    make_processor(tokenizer).save_pretrained(folder)


def checkpoint(shape: Shape, *, dtype: torch.dtype = torch.float32, device: str = "cpu") -> Path:
    """The folder of a shape's checkpoint, made when missing.

    It lies in ``$SPECS_LAB_BENCH_CACHE``, by default in the system's temporary folder. The 3B takes 8 GB, the 7B 17.
    """
    cache = Path(os.environ.get(CACHE_VARIABLE) or Path(tempfile.gettempdir()) / "specs_lab_bench")
    key = hashlib.sha256(f"{shape} {dtype} {device} {torch.__version__}".encode())
    for source in (__file__, tokens.__file__):
        key.update(Path(source).read_bytes())
    folder = cache / key.hexdigest()[:16]
    if not folder.exists():
        cache.mkdir(parents=True, exist_ok=True)
        unfinished = Path(tempfile.mkdtemp(dir=cache))  # renamed when whole: no half a checkpoint is ever found
        try:
            build(shape, unfinished, dtype=dtype, device=device)
            unfinished.rename(folder)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
    return folder
