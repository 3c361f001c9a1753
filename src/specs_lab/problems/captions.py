"""What a problem's picture shows, in words."""

from __future__ import annotations

from specs_lab.problems.base import Problem
from specs_lab.problems.scenes import COLUMNS, cell_name


def caption(problem: Problem) -> str:
    """Lists what the picture shows in reading order: with the cell's name where cells differ, else each thing once.

    Naming cells teaches the language model where each vision token lies; without it, it never learns to look.
    """
    if "empty" in problem.cells:
        shown = [f"{cell_name(i)} {cell}" for i, cell in enumerate(problem.cells) if cell != "empty"]
    else:
        shown = list(dict.fromkeys(problem.cells[:COLUMNS]))
    return ". ".join(shown)
