"""From a user turn with pictures to a :class:`Prompt`: the chat template, the placeholders, the vision inputs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
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
_Encode = Callable[[Any, Sequence[str], Sequence[Sequence[Image.Image]]], list[_Encoded]]
"""From a processor, rendered turns and their pictures to what they are encoded as."""
_AT_ONCE = 1 << 24
"""Most pixels that are encoded in one go; eight bytes and more become of each of their channels."""
_MOST_KEPT = 4 << 30
"""Bytes of vision inputs that one call keeps: a picture of a million pixels has 24 MB, and data have thousands."""
_SMALL = 1 << 14
"""Bytes of a vision input that is kept all the same, such as the grid of patches."""


class RemadeVision(Mapping[str, Tensor]):
    """Vision inputs of which the large ones are made from the pictures again each time that they are asked for.

    Args:
        encode: How they were made, to the last bit.
        processor: The model's processor.
        turn: The rendered turn.
        images: Its pictures.
        vision: What was made of them.
    """

    def __init__(
        self,
        encode: _Encode,
        processor: Any,
        turn: str,
        images: Sequence[Image.Image],
        vision: Mapping[str, Tensor],
    ) -> None:
        self._encode, self._processor, self._turn, self._images = encode, processor, turn, images
        # Copies: a slice of what was encoded in one go would keep all of it alive.
        self._kept = {name: value.clone() if value.nbytes <= _SMALL else None for name, value in vision.items()}

    def __getitem__(self, name: str) -> Tensor:
        kept = self._kept[name]
        return self._encode(self._processor, [self._turn], [self._images])[0][1][name] if kept is None else kept

    def __iter__(self) -> Iterator[str]:
        return iter(self._kept)

    def __len__(self) -> int:
        return len(self._kept)


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
    prompts: list[Prompt] = []
    kept = 0
    for part in _parts(images):
        encode = _fastest(processor, images[part])
        encoded = encode(processor, turns[part], images[part])
        for key, turn, some, (token_ids, vision) in zip(keys[part], turns[part], images[part], encoded, strict=True):
            placeholders = int((token_ids == family.image_id).sum())
            features = family.expected_features(vision)
            if features is not None and placeholders != features:
                raise ValueError(f"prompt {key}: {placeholders} image placeholders for {features} picture features")
            kept += sum(value.nbytes for value in vision.values())
            held = vision if kept <= _MOST_KEPT or not vision else RemadeVision(encode, processor, turn, some, vision)
            prompts.append(Prompt(token_ids, family.positions(token_ids, vision), held, key))
    return prompts


def _parts(images: Sequence[Sequence[Image.Image]]) -> Iterator[slice]:
    """Consecutive prompts whose pictures are encoded in one go; at least one prompt each."""
    start = pixels = 0
    for index, some in enumerate(images):
        more = sum(image.width * image.height for image in some)
        if index > start and pixels + more > _AT_ONCE:
            yield slice(start, index)
            start, pixels = index, 0
        pixels += more
    yield slice(start, len(images))


def _fastest(processor: Any, images: Sequence[Sequence[Image.Image]]) -> _Encode:
    """The fastest way that there is to encode prompts with these pictures."""
    fast = _needs_no_resizing([image for some in images for image in some], processor.image_processor)
    return _encoded_fast if fast else _encoded


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
