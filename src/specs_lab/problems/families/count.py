"""How many things of a colour are there? List them, then count the list."""

from __future__ import annotations

import random

from specs_lab.problems.base import FAMILIES, Draft, Family
from specs_lab.problems.scenes import Scene
from specs_lab.problems.styles import COLOURS


@FAMILIES.register("count")
class Count(Family):
    """Counting by one attribute."""

    answer_type = "integer"
    multi_step = True

    def draft(self, rng: random.Random) -> Draft:
        """Draws one problem's content."""
        scene, colour = Scene.draw(rng), rng.choice(COLOURS)
        total = len(scene.where(colour))
        return Draft(
            question=f"How many {colour} objects are there?",
            answer=str(total),
            reasoning=f"{scene.listing(colour)}. total {total}",
            keys=(f"{scene.key} {colour}",),
            cells=scene.cells,
            paint=scene.paint,
        )
