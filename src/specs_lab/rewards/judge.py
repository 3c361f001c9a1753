"""What a judge is: it says how good a free-text answer is, where no rule can."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Judged:
    """An answer to be judged.

    Attributes:
        answer: The answer, as taken from a response.
        gold: The reference answer.
        question: What was asked; empty if unknown.
    """

    answer: str
    gold: str
    question: str = ""


class Judge(Protocol):
    """Judges answers, many at once, since most judges are models."""

    threshold: float
    """The least value that counts as correct."""

    def __call__(self, answers: Sequence[Judged]) -> list[float]:
        """A value in [0, 1] for each answer, in their order; 1 is as good as the reference.

        Raises:
            UserError: If the judge cannot be asked; no answer is ever given a value in its stead.
        """
        ...
