"""Chosen sides composed of what a teacher wrote: what several constructions of longer reasonings share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from specs_lab.core.options import Checks
from specs_lab.data.constructions.base import NONE, Draft, FromTasks
from specs_lab.data.teachers.base import Teacher
from specs_lab.data.teachers.solver import SolverTeacher
from specs_lab.data.text import read, supplement
from specs_lab.data.workshop import Workshop
from specs_lab.problems.tasks import Task
from specs_lab.rewards.format import Parts, follows

_JOINT = " \t\r\n.,;:"


class Attempt(NamedTuple):
    """A response that could be taken apart.

    Attributes:
        parts: Its reasoning and its answer, free of tags.
        correct: Whether it is right.
    """

    parts: Parts
    correct: bool


@dataclass(kw_only=True)
class Taught(FromTasks):
    """Pairs whose chosen side is composed of a teacher's texts; by default without a rejected side, as data for SFT.

    Attributes:
        teacher: A choice of the group ``teacher``.
        chosen_samples: Responses that the teacher writes to one prompt.
    """

    teacher: Teacher = field(default_factory=SolverTeacher)
    chosen_samples: int = 4
    rejected_form: str = NONE

    def checks(self) -> Checks:
        """The checks of all settings."""
        return super().checks().at_least("chosen_samples", self.chosen_samples, 1)

    def reads(self) -> tuple[str, ...]:
        """The models of the teacher and of the rejected side."""
        return tuple(dict.fromkeys([*self.teacher.reads(), *super().reads()]))

    def attempts(self, tasks: Sequence[Task], shop: Workshop) -> list[list[Attempt]]:
        """The teacher's responses to each task, without those that cannot be taken apart."""
        written = self.teacher.write(tasks, shop, self.chosen_samples, self.drawing)
        return [_attempts(task, responses, shop) for task, responses in zip(tasks, written, strict=True)]

    def finished(self, task: Task, reasoning: Sequence[str], answer: str, shop: Workshop) -> Draft | None:
        """The sentences of a reasoning and the answer in the requested format.

        None, counted as ``malformed``, if a text that was not written as a response, such as a description, holds tags.
        """
        text = supplement(" ".join(sentence(part) for part in reasoning), answer, task.instruction.format)
        if follows(text, task.instruction.format):
            return Draft(text=text, source=self.teacher.source)
        shop.counts["malformed"] += 1
        return None


def sentence(text: str) -> str:
    """The text, ended by a full stop unless it ends like a sentence."""
    text = text.strip()
    return text if text.endswith(("!", "?")) else f"{text.rstrip(_JOINT)}."


def _attempts(task: Task, responses: Sequence[str], shop: Workshop) -> list[Attempt]:
    read_ones = [(response, parts) for response in responses if (parts := read(response)) is not None]
    correct = shop.correct(task, [response for response, _ in read_ones])
    return [Attempt(parts, right) for (_, parts), right in zip(read_ones, correct, strict=True)]
