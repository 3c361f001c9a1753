"""Pictures as a server is sent them: without loss, in the size in which the model sees them."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image
from transformers import Qwen2VLImageProcessorPil

from specs_lab.models.processing import needs_no_resizing
from specs_lab.models.prompts import Prompt


def as_seen(processor: Any, prompt: Prompt, images: Sequence[Image.Image]) -> list[Image.Image]:
    """The pictures of a prompt, RGB, so that scaling them leaves them as they are.

    For Qwen's patches as our own processor makes them, pictures that were scaled are put together from them again: two
    implementations need not scale alike. Where that would be scaled once more (a budget that is a single number of
    pixels), and for other families, pictures are sent as they are.

    Args:
        processor: The model's picture processor.
        prompt: The prompt.
        images: Its pictures.
    """
    plain = [image.convert("RGB") for image in images]
    if not isinstance(processor, Qwen2VLImageProcessorPil) or _fit(plain, processor):
        return plain
    values = prompt.vision["pixel_values"].numpy()
    grids = prompt.vision["image_grid_thw"].tolist()
    starts = np.cumsum([0, *(int(np.prod(grid)) for grid in grids)])
    scaled = [
        _unpatched(values[start:end], grid[1], grid[2], processor)
        for start, end, grid in zip(starts, starts[1:], grids, strict=False)
    ]
    return scaled if _fit(scaled, processor) else plain


def _fit(images: Sequence[Image.Image], processor: Any) -> bool:
    return all(needs_no_resizing(image.size, processor) for image in images)


def _unpatched(values: np.ndarray, rows: int, columns: int, processor: Qwen2VLImageProcessorPil) -> Image.Image:
    """The picture behind normalised patches, (rows * columns, 3 * temporal * patch * patch) float32."""
    patch, merge, temporal = processor.patch_size, processor.merge_size, processor.temporal_patch_size
    x = values.reshape(rows // merge, columns // merge, merge, merge, 3, temporal, patch, patch)[:, :, :, :, :, 0]
    x = x.transpose(0, 2, 5, 1, 3, 6, 4).reshape(rows * patch, columns * patch, 3)
    x = (x * np.asarray(processor.image_std, np.float32) + np.asarray(processor.image_mean, np.float32)) * 255
    return Image.fromarray(np.rint(x).clip(0, 255).astype(np.uint8))


def data_url(image: Image.Image) -> str:
    """A picture as a PNG within a URL."""
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
