"""Which bar is the tallest? Read all, take the largest."""

from __future__ import annotations

import random

from specs_lab.problems.base import FAMILIES, Draft, Family
from specs_lab.problems.scenes import Chart
from specs_lab.problems.styles import COLOURS


@FAMILIES.register("bar_max")
class BarMax(Family):
    """Arg-max over four lengths; the largest is unique."""

    answer_type = "word"
    multi_step = True

    def draft(self, rng: random.Random) -> Draft:
        """Draws one problem's content."""
        while True:
            chart = Chart.draw(rng)
            highest = max(chart.values.values())
            if list(chart.values.values()).count(highest) == 1:
                break
        readings = " ".join(f"{colour} {chart.values[colour]}" for colour in COLOURS)
        tallest = max(chart.values, key=chart.values.__getitem__)
        return Draft(
            question="Which bar is the tallest?",
            answer=tallest,
            reasoning=f"{readings}. highest {highest} {tallest}",
            keys=(chart.key,),
            cells=chart.cells,
            paint=chart.paint,
        )
