"""Are there more things of one colour or of another? List both, count, compare."""

from __future__ import annotations

import random

from specs_lab.problems.base import FAMILIES, Draft, Family
from specs_lab.problems.scenes import Scene
from specs_lab.problems.styles import COLOURS


@FAMILIES.register("compare")
class Compare(Family):
    """Counting twice and comparing; the answer is a colour or ``equal``."""

    answer_type = "word"
    multi_step = True

    def draft(self, rng: random.Random) -> Draft:
        """Draws one problem's content."""
        scene = Scene.draw(rng)
        first, second = rng.sample(COLOURS, 2)
        m, n = len(scene.where(first)), len(scene.where(second))
        answer = "equal" if m == n else first if m > n else second
        return Draft(
            question=f"Are there more {first} or {second} objects?",
            answer=answer,
            reasoning=f"{scene.listing(first)}. {scene.listing(second)}. {m} vs {n} {answer}",
            keys=(f"{scene.key} {first} {second}",),
            cells=scene.cells,
            paint=scene.paint,
        )
