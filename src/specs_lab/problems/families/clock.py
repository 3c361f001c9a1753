"""What hour does the clock show?"""

from __future__ import annotations

import random

from specs_lab.problems.base import FAMILIES, Draft, Family
from specs_lab.problems.dials import Dial


@FAMILIES.register("clock")
class Clock(Family):
    """Reading an angle."""

    answer_type = "integer"

    def draft(self, rng: random.Random) -> Draft:
        """Draws one problem's content."""
        dial = Dial.draw(rng)
        return Draft(
            question="What hour does the clock show?",
            answer=str(dial.hour),
            reasoning=f"hand points to {dial.hour}",
            keys=(dial.key,),
            cells=dial.cells,
            paint=dial.paint,
        )
