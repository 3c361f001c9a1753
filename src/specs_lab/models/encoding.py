"""From a user turn with pictures to a :class:`Prompt`: the chat template, the placeholders, the vision inputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from specs_lab.core.pictures import laid_out
from specs_lab.models.families.base import Family
from specs_lab.models.processing import needs_no_resizing, patchify
from specs_lab.models.prompts import Prompt

_OF_TEXT = {"input_ids", "attention_mask", "token_type_ids", "mm_token_type_ids"}
"""What a processor gives that is not for the vision tower."""
_Encoded = tuple[Tensor, dict[str, Tensor]]
"""Token ids with placeholders expanded, and vision inputs."""


def encode_prompts(
    processor: Any,
    family: Family,
    texts: Sequence[str],
    images: Sequence[Sequence[Image.Image]],
    keys: Sequence[str],
) -> list[Prompt]:
    """Tokenises user turns with their pictures.

    What the text itself holds of the tokens that only pictures have is broken up by a space: it is no picture.

    Args:
        processor: The model's processor.
        family: The model's family.
        texts: The text of each turn; see :func:`specs_lab.core.pictures.laid_out` for the places of pictures in it.
        images: The pictures of each turn, if any.
        keys: What identifies each turn's pictures for the feature cache.

    Raises:
        ValueError: If a prompt's placeholders and picture features differ in number.
    """
    if not texts:
        return []
    turns = [_rendered(processor, family, text, some) for text, some in zip(texts, images, strict=True)]
    fast = _needs_no_resizing([image for some in images for image in some], processor.image_processor)
    encode = _encoded_fast if fast else _encoded
    prompts = []
    for key, (token_ids, vision) in zip(keys, encode(processor, turns, images), strict=True):
        placeholders = int((token_ids == family.image_id).sum())
        features = family.expected_features(vision)
        if features is not None and placeholders != features:
            raise ValueError(f"prompt {key}: {placeholders} image placeholders for {features} picture features")
        prompts.append(Prompt(token_ids, family.positions(token_ids, vision), vision, key))
    return prompts


def _rendered(processor: Any, family: Family, text: str, images: Sequence[Image.Image]) -> str:
    """The turn as the chat template has it, with one placeholder for each picture."""
    parts = [_broken_up(part, family) if isinstance(part, str) else None for part in laid_out(text, images)]
    content = [{"type": "image"} if part is None else {"type": "text", "text": part} for part in parts]
    if family.marks_in_text and parts[: len(images)] != [None] * len(images):
        written = "".join(processor.image_token if part is None else part for part in parts)
        content = [{"type": "text", "text": written}]
    return processor.apply_chat_template(
        [{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True
    )


def _broken_up(text: str, family: Family) -> str:
    """The text without tokens that only pictures have."""
    for token in family.vision_tokens:
        text = text.replace(token, f"{token[0]} {token[1:]}")
    return text


def _needs_no_resizing(images: Sequence[Image.Image], pictures: Any) -> bool:
    """Whether all pictures are of one size that is taken as it is."""
    sizes = {image.size for image in images}
    return len(sizes) == 1 and needs_no_resizing(next(iter(sizes)), pictures)


def _encoded(processor: Any, turns: Sequence[str], images: Sequence[Sequence[Image.Image]]) -> list[_Encoded]:
    """By the processor itself, prompt by prompt."""
    encoded: list[_Encoded] = []
    for turn, some in zip(turns, images, strict=True):
        # The template has written all special tokens; some tokenizers would add a second beginning.
        if some:
            made = processor(text=[turn], images=[list(some)], return_tensors="pt", add_special_tokens=False)
            vision = {name: value for name, value in made.items() if name not in _OF_TEXT}
            encoded.append((made["input_ids"][0], vision))
        else:
            encoded.append((torch.tensor(processor.tokenizer(turn, add_special_tokens=False)["input_ids"]), {}))
    return encoded


def _encoded_fast(processor: Any, turns: Sequence[str], images: Sequence[Sequence[Image.Image]]) -> list[_Encoded]:
    """The same for Qwen's patches of pictures that need no resizing, all at once."""
    every = (image for some in images for image in some)
    stacked = np.stack([np.asarray(image if image.mode == "RGB" else image.convert("RGB")) for image in every])
    values, grids = (torch.from_numpy(part) for part in patchify(stacked, processor.image_processor))
    size = int(grids[0].prod()) // processor.image_processor.merge_size**2
    token = processor.image_token
    expanded = [turn.replace(token, token * size) for turn in turns]
    encodings = processor.tokenizer(expanded, add_special_tokens=False)["input_ids"]
    counts = [len(some) for some in images]
    visions = [
        {"pixel_values": some.flatten(0, 1), "image_grid_thw": grid} if len(grid) else {}
        for some, grid in zip(values.split(counts), grids.split(counts), strict=True)
    ]
    return [(torch.tensor(ids), vision) for ids, vision in zip(encodings, visions, strict=True)]
