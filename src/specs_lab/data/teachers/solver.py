"""The program that made the problems as the teacher: always there, costs nothing, and writes in a style of its own.

It stands in for a much larger model. Its texts come from the problems' derivations; how often it checks itself and how
often it goes wrong are options, as large models do both.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from string import ascii_uppercase

from specs_lab.core.options import Checks, option
from specs_lab.core.seeding import python_rng
from specs_lab.data.teachers.base import Teacher
from specs_lab.data.text import supplement
from specs_lab.data.workshop import Drawing, Workshop
from specs_lab.problems.base import Problem
from specs_lab.problems.captions import caption
from specs_lab.problems.styles import COLOURS
from specs_lab.problems.tasks import Task

STYLES = ("terse", "verbose")
# Words that the tokenizer of the embedded models knows: others would cost a token for every letter or two.
_OPENINGS = ("The picture shows", "In this picture I read", "I read in the picture")
_JOINTS = ("Then", "So then", "This shows")
_CLOSINGS = ("So the result is", "Thus the final result is", "This shows the result is")
_CHECKS = ("Wait, check:", "Hmm, again:", "Wait, I check this:")
_UNSEEN = "The caption says"
_STEP = ". "
_LETTER = re.compile(r"\b[A-Z]\b")
_INTEGER = re.compile(r"-?[0-9]+")
_WORD = re.compile(r"\w+")


@option("teacher", "solver")
@dataclass(kw_only=True)
class SolverTeacher(Teacher):
    """Writes out the derivations that come with the problems; problems without one stay unanswered.

    Attributes:
        style: ``terse``: the derivation as it is, which is how the base models reason. ``verbose``: whole sentences
            around its steps, which no base model has seen.
        reflection_rate: Share of responses that check themselves ("Wait, check: ..."); the check finds nothing.
        error_rate: Share of responses whose last step goes wrong, and the answer with it.
    """

    style: str = "verbose"
    reflection_rate: float = 0.0
    error_rate: float = 0.0

    def __post_init__(self) -> None:
        checks = Checks().one_of("style", self.style, STYLES).share("reflection_rate", self.reflection_rate)
        checks.share("error_rate", self.error_rate).done()

    @property
    def source(self) -> str:
        """Its name."""
        return "solver"

    def write(self, tasks: Sequence[Task], shop: Workshop, count: int, drawing: Drawing) -> list[list[str]]:
        """Responses that depend on the seed, the task and their number only."""
        return [self._responses(task, shop, count) for task in tasks]

    def caption(self, tasks: Sequence[Task], shop: Workshop, drawing: Drawing) -> list[str]:
        """What the pictures were painted from."""
        return [caption(task.problem) for task in tasks]

    def write_unseen(
        self, tasks: Sequence[Task], captions: Sequence[str], shop: Workshop, count: int, drawing: Drawing
    ) -> list[list[str]]:
        """The same responses, which now say that they follow a caption."""
        return [self._responses(task, shop, count, _UNSEEN) for task in tasks]

    def _responses(self, task: Task, shop: Workshop, count: int, opening: str = "") -> list[str]:
        return [self._response(task, shop, k, opening) for k in range(count)] if task.problem.reasoning else []

    def _response(self, task: Task, shop: Workshop, k: int, opening: str) -> str:
        rng = python_rng("solver", shop.seed, task.id, k)
        checks, errs = rng.random() < self.reflection_rate, rng.random() < self.error_rate
        problem = task.problem
        answer = mistaken(problem, rng) if errs else problem.answer
        steps = (problem.reasoning.removesuffix(problem.answer) + answer).split(_STEP)
        check = f"{rng.choice(_CHECKS)} {steps[-1]}"
        if self.style == "verbose":
            said = [f"{opening or rng.choice(_OPENINGS)}: {steps[0]}"]
            said += [f"{rng.choice(_JOINTS)} {step}" for step in steps[1:]]
            said += [check] * checks + [f"{rng.choice(_CLOSINGS)} {answer}"]
        else:
            said = [f"{opening}: {steps[0]}" if opening else steps[0], *steps[1:], *[check] * checks]
        return supplement(_STEP.join(said), answer, task.instruction.format)


def mistaken(problem: Problem, rng: random.Random) -> str:
    """A wrong answer of the same kind: a number next to the right one, another option, a colour."""
    kind, answer = problem.answer_type, problem.answer
    if kind == "integer" and _INTEGER.fullmatch(answer):
        right = int(answer)
        return str(rng.choice([right + 1, right - 1] if right > 0 else [right + 1]))
    if kind == "boolean":
        return "no" if answer.lower() in ("yes", "true") else "yes"
    if kind == "choice":
        letters = ascii_uppercase[: len(problem.choices)] or _LETTER.findall(problem.question)
        return rng.choice([letter for letter in letters if letter != answer] or ["Z"])
    first, _, rest = answer.partition(" ")
    words = _WORD.findall(problem.question)
    others = [colour for colour in COLOURS if colour != first]
    others = [colour for colour in others if colour in words] or others
    return f"{rng.choice(others)} {rest}".strip() if first in COLOURS else rng.choice(others)
