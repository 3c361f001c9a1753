"""What hour will the clock show some hours later? Read the hour, add, wrap at twelve."""

from __future__ import annotations

import random

from specs_lab.problems.base import FAMILIES, Draft, Family
from specs_lab.problems.dials import Dial


@FAMILIES.register("later")
class Later(Family):
    """Reading an angle, then arithmetic modulo twelve."""

    answer_type = "integer"
    multi_step = True

    def draft(self, rng: random.Random) -> Draft:
        """Draws one problem's content."""
        dial, hours = Dial.draw(rng), rng.randint(2, 9)
        total = dial.hour + hours
        wrap = f". {total}-12={total - 12}" if total > 12 else ""
        return Draft(
            question=f"What hour will the clock show in {hours} hours?",
            answer=str(total - 12 if total > 12 else total),
            reasoning=f"hand points to {dial.hour}. {dial.hour}+{hours}={total}{wrap}",
            keys=(f"{dial.key} {hours}",),
            cells=dial.cells,
            paint=dial.paint,
        )
