"""Which way does the arrow point? Multiple choice; the options are shuffled.

Each option is written before its letter, so that finding the letter is to read on from a match, not back from it. It is
the hardest family for the `small` base models, see their cards.
"""

from __future__ import annotations

import math
import random

from specs_lab.problems.base import FAMILIES, Draft, Family
from specs_lab.problems.canvas import Canvas
from specs_lab.problems.styles import COLOURS

_DEGREES = {"up": 0, "right": 90, "down": 180, "left": 270}
_LETTERS = "ABCD"


@FAMILIES.register("arrow")
class Arrow(Family):
    """Reading a direction and finding its letter."""

    answer_type = "choice"

    def draft(self, rng: random.Random) -> Draft:
        """Draws one problem's content."""
        options = rng.sample(list(_DEGREES), len(_DEGREES))
        way, colour = rng.choice(options), rng.choice(COLOURS)
        x, y, length = rng.randint(26, 38), rng.randint(26, 38), rng.randint(16, 23)
        tilt = rng.randrange(-12, 13, 4)  # steps that pixels can tell apart: arrows with different keys look different

        def paint(canvas: Canvas) -> None:
            angle = math.radians(_DEGREES[way] + tilt)
            ahead, aside = (math.sin(angle), -math.cos(angle)), (math.cos(angle), math.sin(angle))
            tip = (x + length * ahead[0], y + length * ahead[1])
            neck = (x + (length - 9) * ahead[0], y + (length - 9) * ahead[1])
            canvas.line((x - length * ahead[0], y - length * ahead[1]), neck, colour=colour, width=4)
            wings = [(neck[0] + s * 8 * aside[0], neck[1] + s * 8 * aside[1]) for s in (-1, 1)]
            canvas.polygon([tip, *wings], colour)

        letter = _LETTERS[options.index(way)]
        listed = " ".join(f"{option} {mark}" for option, mark in zip(options, _LETTERS, strict=True))
        return Draft(
            question=f"Which way does the arrow point? {listed}",
            answer=letter,
            reasoning=f"arrow points {way} {letter}",
            keys=(f"{way} {tilt} {x} {y} {length} {colour}",),
            cells=(f"arrow {way}",) * 16,
            paint=paint,
        )
