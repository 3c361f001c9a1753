"""Add two handwritten digits: real scans, from the collection that scikit-learn ships."""

from __future__ import annotations

import functools
import random

import numpy as np

from specs_lab.problems.base import FAMILIES, Draft, Family
from specs_lab.problems.canvas import Canvas


@functools.cache
def _scans() -> tuple[np.ndarray, np.ndarray]:
    """The 1797 scans, (N, 8, 8) in 0..1, and their labels, (N,)."""
    from sklearn.datasets import load_digits  # heavy: only the processes that draw digits need it

    pixels, labels = load_digits(return_X_y=True)
    return np.asarray(pixels).reshape(-1, 8, 8) / 16.0, np.asarray(labels)


@FAMILIES.register("digits")
class Digits(Family):
    """Reading real handwriting and adding. No scan appears in two splits."""

    answer_type = "integer"
    multi_step = True

    def draft(self, rng: random.Random) -> Draft:
        """Draws one problem's content."""
        images, labels = _scans()
        picks = [rng.randrange(len(labels)) for _ in range(2)]
        spots = [(16 + 32 * k + rng.randint(-1, 1), 32 + rng.randint(-2, 2)) for k in range(2)]
        m, n = (int(labels[pick]) for pick in picks)

        def paint(canvas: Canvas) -> None:
            for pick, spot in zip(picks, spots, strict=True):
                canvas.scan(spot, images[pick], side=26)

        return Draft(
            question="What is the sum of the two digits?",
            answer=str(m + n),
            reasoning=f"digits {m} and {n}. {m}+{n}={m + n}",
            keys=tuple(f"scan {pick}" for pick in picks),
            cells=(f"digit {m}", f"digit {m}", f"digit {n}", f"digit {n}") * 4,
            paint=paint,
        )
