"""Read two values off a bar chart and add them."""

from __future__ import annotations

import random

from specs_lab.problems.base import FAMILIES, Draft, Family
from specs_lab.problems.scenes import Chart
from specs_lab.problems.styles import COLOURS


@FAMILIES.register("bar_sum")
class BarSum(Family):
    """Reading two lengths and adding."""

    answer_type = "integer"
    multi_step = True

    def draft(self, rng: random.Random) -> Draft:
        """Draws one problem's content."""
        chart = Chart.draw(rng)
        first, second = rng.sample(COLOURS, 2)
        m, n = chart.values[first], chart.values[second]
        return Draft(
            question=f"What is the sum of the {first} and {second} bars?",
            answer=str(m + n),
            reasoning=f"{first} bar is {m}. {second} bar is {n}. {m}+{n}={m + n}",
            keys=(f"{chart.key} {first} {second}",),
            cells=chart.cells,
            paint=chart.paint,
        )
