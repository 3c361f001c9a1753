"""What constructions work with: models to ask, a judge, random numbers, and an account of what was dropped and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from PIL import Image

from specs_lab.core.journal import Recall, make_anew
from specs_lab.problems.tasks import ProblemSource, Task, TaskRef
from specs_lab.rewards.grader import grade_many, terms_of
from specs_lab.rewards.judge import Judge
from specs_lab.rewards.kinds.base import Terms


@dataclass(frozen=True)
class Question:
    """What a model is asked.

    Attributes:
        text: The text of the user's turn.
        images: The pictures; ``<image>`` in the text says where each goes, without any they stand before it.
        image_key: Identifies the pictures.
        key: Names the random numbers of the answers.
        begun: What is put into the model's mouth: the beginning of its answer.
    """

    text: str
    images: tuple[Image.Image, ...]
    image_key: str
    key: str
    begun: str = ""


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """How answers are drawn.

    Attributes:
        temperature: 0 is greedy.
        max_new_tokens: Longest answer.
    """

    temperature: float = 1.0
    max_new_tokens: int = 48


Sample = Callable[[str, Sequence[Question], int, Drawing], list[list[str]]]
"""(name of a model input, questions, answers to each, how) to the texts of the answers, fewer where some were cut."""


def refuse(model: str, questions: Sequence[Question], count: int, drawing: Drawing) -> list[list[str]]:
    """The :data:`Sample` of a workshop without models.

    Raises:
        LookupError: Always.
    """
    raise LookupError(f"there is no model '{model}' to ask")


@dataclass(kw_only=True)
class Workshop:
    """What a construction is given.

    Attributes:
        seed: Of everything random.
        stream: Separates constructions of one study, such as those of several rounds; empty for the first.
        problems: Where tasks come from.
        sample: Asks the models that the construction reads.
        judge: Judges open answers.
        check_tasks: Called with tasks before they are used; raises if their gold answers are none.
        recall: Keeps what was expensive to be told, for a construction that is interrupted.
        counts: How many prompts and responses got how far, by name.
        others: Tasks that the construction puts aside for something else than its pairs, such as RL.
    """

    seed: int
    problems: ProblemSource
    sample: Sample = refuse
    stream: str = ""
    judge: Judge | None = None
    check_tasks: Callable[[Sequence[Task]], None] = lambda _: None
    recall: Recall = make_anew
    counts: Counter[str] = field(default_factory=Counter)
    others: list[TaskRef] = field(default_factory=list)

    def ask(self, model: str, side: str, tasks: Sequence[Task], count: int, drawing: Drawing) -> list[list[str]]:
        """Responses to tasks as they stand.

        Args:
            model: Name of the model input.
            side: Names the use, and with it the random numbers.
            tasks: The tasks.
            count: Responses to each.
            drawing: How.
        """
        return self.sample(model, [self.question(task, side) for task in tasks], count, drawing)

    def question(self, task: Task, side: str, text: str | None = None, begun: str = "") -> Question:
        """A task, or another text about its picture, as a question."""
        key = f"{side}/{self.seed}{self.stream}/{task.id}"
        return Question(task.text if text is None else text, task.images, task.problem.id, key, begun)

    def correct(self, task: Task, responses: Sequence[str]) -> list[bool]:
        """Whether each response to a task answers it rightly, whatever its form."""
        problem, count = task.problem, len(responses)
        verdicts = grade_many(
            responses,
            [problem.answer] * count,
            [problem.answer_type] * count,
            choices=[problem.choices] * count,
            precisions=[problem.precision] * count,
            units=[problem.unit] * count,
            questions=[problem.question] * count,
            judge=self.judge,
        )
        return [verdict.correct for verdict in verdicts]


def terms(task: Task) -> Terms:
    """What a task's problem says beside its gold answer."""
    return terms_of(task.problem.choices, task.problem.precision, task.problem.unit)
