"""Reflection CoT (Wei et al., arXiv 2505.22334): a wrong path, a turn, and a right path of the same problem."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from specs_lab.core.options import Checks, option
from specs_lab.data.constructions.base import Draft
from specs_lab.data.taught import Attempt, Taught
from specs_lab.data.workshop import Workshop
from specs_lab.problems.tasks import Task


@option("data", "reflection")
@dataclass(kw_only=True)
class Reflection(Taught):
    """Wrong and right paths of a teacher, spliced; the answer is the right path's.

    Attributes:
        turn: Stands between the paths.
    """

    turn: str = "Wait, let me re-evaluate."

    def checks(self) -> Checks:
        """The checks of all settings."""
        checks = super().checks().that(bool(self.turn.strip()), "turn", "is empty", "write a sentence that turns back")
        return checks.at_least("chosen_samples", self.chosen_samples, 2)

    def drafts(self, tasks: Sequence[Task], shop: Workshop) -> list[Draft | None]:
        """The spliced paths of each task; none without a right path (``no_right``) and a wrong one (``no_wrong``)."""
        written = self.attempts(tasks, shop)
        return [self._splice(task, attempts, shop) for task, attempts in zip(tasks, written, strict=True)]

    def _splice(self, task: Task, attempts: Sequence[Attempt], shop: Workshop) -> Draft | None:
        right = next((one.parts for one in attempts if one.correct), None)
        if right is None:
            shop.counts["no_right"] += 1
            return None
        # A response can be wrong with the right reasoning, by a slip in its answer: that is no wrong path.
        wrong = next(
            (one.parts for one in attempts if not one.correct and one.parts.reasoning != right.reasoning), None
        )
        if wrong is None:
            shop.counts["no_wrong"] += 1
            return None
        return self.finished(task, [wrong.reasoning, self.turn, right.reasoning], right.answer, shop)
