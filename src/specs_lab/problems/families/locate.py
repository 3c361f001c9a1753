"""What is in this cell?"""

from __future__ import annotations

import random

from specs_lab.problems.base import FAMILIES, Draft, Family
from specs_lab.problems.scenes import Scene, cell_name


@FAMILIES.register("locate")
class Locate(Family):
    """Looking at a named place; the answer is a colour and a shape."""

    answer_type = "word"

    def draft(self, rng: random.Random) -> Draft:
        """Draws one problem's content."""
        scene = Scene.draw(rng)
        thing = rng.choice(scene.things)
        cell, shown = cell_name(thing.cell), f"{thing.colour} {thing.shape}"
        return Draft(
            question=f"What is in cell {cell}?",
            answer=shown,
            reasoning=f"{cell} {shown}",
            keys=(f"{scene.key} {cell}",),
            cells=scene.cells,
            paint=scene.paint,
        )
