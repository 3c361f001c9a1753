"""Read a small printed sum or difference and work it out."""

from __future__ import annotations

import random

from specs_lab.problems.base import FAMILIES, Draft, Family
from specs_lab.problems.canvas import Canvas


@FAMILIES.register("expression")
class Expression(Family):
    """Reading print (the font is a matter of style) and calculating."""

    answer_type = "integer"
    multi_step = True

    def draft(self, rng: random.Random) -> Draft:
        """Draws one problem's content."""
        m, n, sign = rng.randint(0, 9), rng.randint(0, 9), rng.choice("+-")
        if sign == "-" and n > m:
            m, n = n, m
        value = m + n if sign == "+" else m - n
        # in steps that the smallest style can tell apart: problems with different keys look different
        spots = [(x + rng.randrange(-2, 3, 2), 32 + rng.randrange(-4, 5, 2)) for x in (11, 32, 53)]
        size = rng.randint(24, 29)

        def paint(canvas: Canvas) -> None:
            for glyph, spot in zip(f"{m}{sign}{n}", spots, strict=True):
                canvas.text(spot, glyph, size)

        return Draft(
            question="What is the value of the expression?",
            answer=str(value),
            reasoning=f"it reads {m}{sign}{n}. {m}{sign}{n}={value}",
            keys=(f"{m}{sign}{n} {spots} {size}",),
            cells=(f"print {m}", f"sign {sign}", f"sign {sign}", f"print {n}") * 4,
            paint=paint,
        )
