"""Picture styles: how a problem looks, independent of what it asks.

A style is data (colours, font, noise, scale). ``plain`` is the in-distribution look; the others are one axis of
distribution shift.
"""

from __future__ import annotations

from dataclasses import dataclass, field

RGB = tuple[int, int, int]

COLOURS: tuple[str, ...] = ("red", "green", "blue", "yellow")
_VIVID: dict[str, RGB] = {
    "red": (220, 30, 30),
    "green": (20, 160, 40),
    "blue": (40, 60, 230),
    "yellow": (235, 200, 20),
}
_SOFT: dict[str, RGB] = {
    "red": (232, 105, 105),
    "green": (105, 190, 120),
    "blue": (115, 130, 240),
    "yellow": (240, 215, 110),
}
_BRIGHT: dict[str, RGB] = {
    "red": (255, 70, 70),
    "green": (60, 220, 90),
    "blue": (90, 120, 255),
    "yellow": (255, 230, 70),
}


@dataclass(frozen=True)
class Style:
    """How a picture looks.

    Attributes:
        name: The style's name.
        background: Background colour.
        ink: Colour of lines and glyphs.
        palette: Colour of each colour name.
        font: File name of a font shipped with matplotlib.
        noise: Standard deviation of additive Gaussian pixel noise, in grey levels of 255.
        scale: Size of everything drawn, about the centre; 1 fills the canvas.
    """

    name: str
    background: RGB = (255, 255, 255)
    ink: RGB = (0, 0, 0)
    palette: dict[str, RGB] = field(default_factory=lambda: dict(_VIVID))
    font: str = "DejaVuSans-Bold.ttf"
    noise: float = 0.0
    scale: float = 1.0


STYLES: dict[str, Style] = {
    style.name: style
    for style in (
        Style("plain"),
        Style("chalkboard", (24, 32, 40), (240, 240, 235), dict(_BRIGHT), "DejaVuSansMono-Bold.ttf"),
        Style("newsprint", (232, 228, 216), (40, 40, 40), font="DejaVuSerif-Bold.ttf", noise=14.0),
        Style("pastel_small", (250, 246, 238), (90, 80, 110), dict(_SOFT), "DejaVuSans.ttf", scale=0.85),
    )
}
