"""A clock face with an hour hand, asked about by two families."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

from specs_lab.problems.canvas import Canvas
from specs_lab.problems.styles import COLOURS

JITTERS = (-4, 0, 4)
LENGTHS = (17, 20, 23)
"""Steps wide enough that no two dials look alike at any style's scale: pixels are coarse, and dials that look alike
under different keys would put one picture into two splits."""


@dataclass(frozen=True)
class Dial:
    """A clock that shows a full hour; ``angle`` in degrees from 12 o'clock, with a little jitter."""

    hour: int
    angle: int
    length: int
    colour: str

    @classmethod
    def draw(cls, rng: random.Random) -> Dial:
        """A random dial."""
        hour = rng.randint(1, 12)
        return cls(hour, hour % 12 * 30 + rng.choice(JITTERS), rng.choice(LENGTHS), rng.choice(COLOURS))

    def paint(self, canvas: Canvas) -> None:
        """Draws the dial."""
        canvas.ellipse((4, 4, 60, 60), None, fill=False)
        for tick in range(12):
            sin, cos = math.sin(math.radians(30 * tick)), math.cos(math.radians(30 * tick))
            canvas.line((32 + 25 * sin, 32 - 25 * cos), (32 + 28 * sin, 32 - 28 * cos))
        sin, cos = math.sin(math.radians(self.angle)), math.cos(math.radians(self.angle))
        canvas.line((32, 32), (32 + self.length * sin, 32 - self.length * cos), colour=self.colour, width=3)

    @property
    def key(self) -> str:
        """Identifies the picture."""
        return f"{self.angle} {self.length} {self.colour}"

    @property
    def cells(self) -> tuple[str, ...]:
        """What each cell shows: the hour, which only the whole face tells."""
        return (f"hour {self.hour}",) * 16
