"""Chosen sides written from the problems' own derivations: what a data set with annotated solutions gives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from specs_lab.core.options import option
from specs_lab.data.constructions.base import Draft, FromTasks
from specs_lab.data.text import supplement
from specs_lab.data.workshop import Workshop
from specs_lab.problems.tasks import Task


@option("data", "gold")
@dataclass(kw_only=True)
class Gold(FromTasks):
    """The derivation and the answer that come with the problem, in the requested format."""

    def drafts(self, tasks: Sequence[Task], shop: Workshop) -> list[Draft | None]:
        """The chosen side of each task; none for problems without a derivation."""
        return [self._draft(task) for task in tasks]

    @staticmethod
    def _draft(task: Task) -> Draft | None:
        problem = task.problem
        if not problem.reasoning:
            return None
        return Draft(text=supplement(problem.reasoning, problem.answer, task.instruction.format), source="gold")
