"""Looks of pictures that come from elsewhere: what a style shift is for a dataset. None hides what is asked about."""

from __future__ import annotations

import io
from collections.abc import Callable

from PIL import Image, ImageEnhance

_PAPER = (244, 233, 208)


def _plain(image: Image.Image) -> Image.Image:
    return image


def _faded(image: Image.Image) -> Image.Image:
    """As an old print: pale, on yellowish paper; colours stay apart."""
    return Image.blend(image, Image.new("RGB", image.size, _PAPER), 0.4)


def _dim(image: Image.Image) -> Image.Image:
    """As photographed in poor light."""
    return ImageEnhance.Brightness(image).enhance(0.5)


def _compressed(image: Image.Image) -> Image.Image:
    """As saved by somebody who is short of space."""
    file = io.BytesIO()
    image.save(file, "JPEG", quality=20)
    return Image.open(file).convert("RGB")


FILTERS: dict[str, Callable[[Image.Image], Image.Image]] = {
    "plain": _plain,
    "faded": _faded,
    "dim": _dim,
    "compressed": _compressed,
}
"""By name, from an RGB picture to one of the same size."""
