"""How many things of two colours are there together? List, count and add."""

from __future__ import annotations

import random

from specs_lab.problems.base import FAMILIES, Draft, Family
from specs_lab.problems.scenes import Scene
from specs_lab.problems.styles import COLOURS


@FAMILIES.register("add")
class Add(Family):
    """Counting twice and adding."""

    answer_type = "integer"
    multi_step = True

    def draft(self, rng: random.Random) -> Draft:
        """Draws one problem's content."""
        scene = Scene.draw(rng)
        first, second = rng.sample(COLOURS, 2)
        m, n = len(scene.where(first)), len(scene.where(second))
        return Draft(
            question=f"How many {first} and {second} objects in total?",
            answer=str(m + n),
            reasoning=f"{scene.listing(first)}. {scene.listing(second)}. {m}+{n}={m + n}",
            keys=(f"{scene.key} {first} {second}",),
            cells=scene.cells,
            paint=scene.paint,
        )
