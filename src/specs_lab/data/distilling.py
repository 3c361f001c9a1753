"""Distillation: of several responses that somebody wrote to a task, the one that is worth learning from.

Responses are kept if their answer is right and their reasoning leads to it; their form is completed where it misses the
requested one. This is how SPECS (arXiv 2510.25801) makes its chosen sides, and, with other teachers and without the
check, what other papers call rejection sampling.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field

from specs_lab.core.options import Checks
from specs_lab.data.consistency.agreement import Agreement
from specs_lab.data.consistency.base import Consistency, Said
from specs_lab.data.constructions.base import Draft, FromTasks
from specs_lab.data.teachers.base import Teacher
from specs_lab.data.text import cut_at_reflection, read, supplement
from specs_lab.data.workshop import Workshop
from specs_lab.problems.tasks import Task
from specs_lab.rewards.format import Parts, follows

PREFERENCES = ("first", "shortest")


@dataclass(kw_only=True)
class Distillation(FromTasks):
    """Chosen sides that a teacher wrote.

    Attributes:
        chosen_samples: Responses that the teacher writes to one prompt.
        supplement_format: Complete the form of correct responses that lack it, instead of dropping them.
        consistency: Who says whether a reasoning leads to its answer; a choice of the group ``consistency``.
        prefer: Which of several usable responses is taken: the ``first`` or the ``shortest``.
        cut_at_reflection: End reasonings before the first sentence that turns back ("wait", "check"), as
            OpenVLThinker (arXiv 2503.17352) does; those that begin with one stay whole.
    """

    chosen_samples: int = 2
    supplement_format: bool = True
    consistency: Consistency = field(default_factory=Agreement)
    prefer: str = "first"
    cut_at_reflection: bool = False

    def checks(self) -> Checks:
        """The checks of all settings."""
        checks = super().checks().at_least("chosen_samples", self.chosen_samples, 1)
        return checks.one_of("prefer", self.prefer, PREFERENCES)

    @abstractmethod
    def author(self) -> Teacher:
        """Who writes the responses."""

    def reads(self) -> tuple[str, ...]:
        """The models of the author, of the check and of the rejected side."""
        return tuple(dict.fromkeys([*self.author().reads(), *self.consistency.reads(), *super().reads()]))

    def drafts(self, tasks: Sequence[Task], shop: Workshop) -> list[Draft | None]:
        """The chosen side of each task."""
        author = self.author()
        written = author.write(tasks, shop, self.chosen_samples, self.drawing)
        waiting = {
            place: self._candidates(task, responses, shop)
            for place, (task, responses) in enumerate(zip(tasks, written, strict=True))
        }
        drafts: list[Draft | None] = [None] * len(tasks)
        while waiting := {place: rest for place, rest in waiting.items() if rest and drafts[place] is None}:
            # One candidate of each task at a time: checks are made many at once, and none that is not needed.
            said = [Said(tasks[place], rest[0][1]) for place, rest in waiting.items()]
            for (place, rest), keep in zip(waiting.items(), self.consistency.keep(said, shop), strict=True):
                response, parts = rest.pop(0)
                shop.counts["inconsistent"] += not keep
                if keep:
                    drafts[place] = self._draft(tasks[place], response, parts, author.source)
        return drafts

    def _candidates(self, task: Task, responses: Sequence[str], shop: Workshop) -> list[tuple[str, Parts]]:
        """The right responses that can be taken apart, in the order of preference."""
        found = []
        for response, correct in zip(responses, shop.correct(task, responses), strict=True):
            parts = read(response)
            if correct and parts is not None and (self.supplement_format or follows(response, task.instruction.format)):
                found.append((response, parts))
        return sorted(found, key=lambda one: len(one[1].reasoning)) if self.prefer == "shortest" else found

    def _draft(self, task: Task, response: str, parts: Parts, source: str) -> Draft:
        format = task.instruction.format
        supplemented = not follows(response, format)
        if self.cut_at_reflection:
            reasoning = cut_at_reflection(parts.reasoning)
            if reasoning and reasoning != parts.reasoning:
                text = supplement(reasoning, parts.answer, format)
                return Draft(text=text, source=source, supplemented=supplemented)
        text = supplement(*parts, format) if supplemented else response
        return Draft(text=text, source=source, supplemented=supplemented)
