"""The sheet a problem is drawn on: logical 64 x 64 coordinates, looks decided by a style."""

from __future__ import annotations

import functools
import random
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from specs_lab.problems.styles import RGB, Style

SIZE = 64
"""Side of the square canvas in pixels; one model token covers a 16 x 16 cell."""


@functools.cache
def _font(name: str, size: int) -> ImageFont.FreeTypeFont:
    spec = find_spec("matplotlib")  # located, not imported: matplotlib only lends its font files
    if spec is None or spec.origin is None:
        raise FileNotFoundError("matplotlib, which ships the fonts, is not installed")
    return ImageFont.truetype(str(Path(spec.origin).parent / "mpl-data" / "fonts" / "ttf" / name), size)


class Canvas:
    """Draws in a style.

    Args:
        style: The look.
    """

    def __init__(self, style: Style) -> None:
        self.style = style
        self._image = Image.new("RGB", (SIZE, SIZE), style.background)
        self._draw = ImageDraw.Draw(self._image)

    def _xy(self, points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
        half, scale = SIZE / 2, self.style.scale
        return [(half + (x - half) * scale, half + (y - half) * scale) for x, y in points]

    def _colour(self, name: str | None) -> RGB:
        return self.style.ink if name is None else self.style.palette[name]

    def rectangle(self, box: tuple[float, float, float, float], colour: str | None) -> None:
        """A filled rectangle (left, top, right, bottom) in a named colour, or in ink for None."""
        self._draw.rectangle(self._xy([box[:2], box[2:]]), fill=self._colour(colour))

    def ellipse(self, box: tuple[float, float, float, float], colour: str | None, *, fill: bool = True) -> None:
        """An ellipse in a box, filled or outlined."""
        paint = self._colour(colour)
        self._draw.ellipse(self._xy([box[:2], box[2:]]), fill=paint if fill else None, outline=None if fill else paint)

    def polygon(self, points: Sequence[tuple[float, float]], colour: str | None) -> None:
        """A filled polygon."""
        self._draw.polygon(self._xy(points), fill=self._colour(colour))

    def line(
        self, start: tuple[float, float], end: tuple[float, float], *, colour: str | None = None, width: int = 1
    ) -> None:
        """A straight line."""
        self._draw.line(self._xy([start, end]), fill=self._colour(colour), width=width)

    def text(self, centre: tuple[float, float], text: str, size: int) -> None:
        """Text centred on a point, in ink and in the style's font; size in pixels."""
        font = _font(self.style.font, round(size * self.style.scale))
        self._draw.text(self._xy([centre])[0], text, fill=self.style.ink, font=font, anchor="mm")

    def scan(self, centre: tuple[float, float], grey: np.ndarray, side: int) -> None:
        """Pastes a photographic grey picture (H, W) in 0..1 (1 is ink) centred on a point, enlarged to ``side``."""
        paper, ink = (np.array(c, dtype=np.float64) for c in (self.style.background, self.style.ink))
        pixels = (paper + grey[..., None] * (ink - paper)).astype(np.uint8)
        side = round(side * self.style.scale)
        picture = Image.fromarray(pixels).resize((side, side), Image.Resampling.BILINEAR)
        x, y = self._xy([centre])[0]
        self._image.paste(picture, (round(x - side / 2), round(y - side / 2)))

    def finish(self, rng: random.Random) -> Image.Image:
        """The picture, with the style's noise added."""
        if not self.style.noise:
            return self._image
        noise = np.random.Generator(np.random.Philox(rng.getrandbits(63))).normal(0, self.style.noise, (SIZE, SIZE, 3))
        return Image.fromarray(np.clip(np.asarray(self._image) + noise, 0, 255).astype(np.uint8))
