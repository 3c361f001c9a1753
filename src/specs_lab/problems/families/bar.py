"""Read one value off a bar chart."""

from __future__ import annotations

import random

from specs_lab.problems.base import FAMILIES, Draft, Family
from specs_lab.problems.scenes import Chart
from specs_lab.problems.styles import COLOURS


@FAMILIES.register("bar")
class Bar(Family):
    """Reading a length."""

    answer_type = "integer"

    def draft(self, rng: random.Random) -> Draft:
        """Draws one problem's content."""
        chart, colour = Chart.draw(rng), rng.choice(COLOURS)
        value = chart.values[colour]
        return Draft(
            question=f"What is the value of the {colour} bar?",
            answer=str(value),
            reasoning=f"{colour} bar is {value}",
            keys=(f"{chart.key} {colour}",),
            cells=chart.cells,
            paint=chart.paint,
        )
