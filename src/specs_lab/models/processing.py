"""Image and text processing that works without torchvision, and a fast path for small pictures."""

from __future__ import annotations

from typing import Any

import numpy as np
from transformers import AutoProcessor, Qwen2_5_VLConfig, Qwen2_5_VLProcessor, Qwen2VLImageProcessorPil
from transformers.processing_utils import ProcessorMixin

IMAGE_TOKEN = "<|image_pad|>"
VIDEO_TOKEN = "<|video_pad|>"


class ImageOnlyQwen2_5_VLProcessor(Qwen2_5_VLProcessor):  # noqa: N801 - named after the class it narrows
    """Qwen2.5-VL's processor without its video half, which needs torchvision.

    Saved and loaded under its own name, so that ``AutoProcessor`` finds it once this module is imported.
    """

    def __init__(
        self,
        image_processor: Any = None,
        tokenizer: Any = None,
        chat_template: str | None = None,
        **_: Any,
    ) -> None:
        self.image_token, self.video_token = IMAGE_TOKEN, VIDEO_TOKEN
        self.image_token_id = tokenizer.convert_tokens_to_ids(IMAGE_TOKEN)
        self.video_token_id = tokenizer.convert_tokens_to_ids(VIDEO_TOKEN)
        ProcessorMixin.__init__(self, image_processor, tokenizer, chat_template=chat_template)


AutoProcessor.register(Qwen2_5_VLConfig, ImageOnlyQwen2_5_VLProcessor, exist_ok=True)


def patchify(images: np.ndarray, processor: Qwen2VLImageProcessorPil) -> tuple[np.ndarray, np.ndarray]:
    """Turns equal-sized pictures that need no resizing into patches; a vectorised twin of the image processor.

    The general processor takes about 1.5 ms a picture, most of it Python; this takes microseconds.

    Args:
        images: (N, H, W, 3) uint8; H and W are multiples of ``patch_size * merge_size`` and within the pixel budget.
        processor: Supplies patch sizes, means and standard deviations.

    Returns:
        ``pixel_values`` (N, H/patch * W/patch, 3 * temporal * patch * patch) float32 and ``grid_thw`` (N, 3) int64.
    """
    patch, merge, temporal = processor.patch_size, processor.merge_size, processor.temporal_patch_size
    mean = np.asarray(processor.image_mean, np.float32)
    std = np.asarray(processor.image_std, np.float32)
    x = (images.astype(np.float32) * np.float32(1 / 255) - mean) / std
    n, height, width, channels = x.shape
    rows, columns = height // patch, width // patch
    x = x.reshape(n, rows // merge, merge, patch, columns // merge, merge, patch, channels)
    x = x.transpose(0, 1, 4, 2, 5, 7, 3, 6)  # n, row block, column block, row, column, channel, y, x
    x = np.broadcast_to(x[:, :, :, :, :, :, None], (*x.shape[:6], temporal, *x.shape[6:]))
    values = np.ascontiguousarray(x).reshape(n, rows * columns, channels * temporal * patch * patch)
    return values, np.tile(np.array([1, rows, columns], dtype=np.int64), (n, 1))


def needs_no_resizing(size: tuple[int, int], processor: Any) -> bool:
    """Whether :func:`patchify` applies to a picture of this (width, height)."""
    if not isinstance(processor, Qwen2VLImageProcessorPil):
        return False
    factor = processor.patch_size * processor.merge_size
    low, high = processor.size["shortest_edge"], processor.size["longest_edge"]
    return all(side % factor == 0 for side in size) and low <= size[0] * size[1] <= high
