"""A model of the study as the teacher: the one that is distilled, the base model, or another checkpoint."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from specs_lab.core.options import Checks, option
from specs_lab.data.teachers.base import AskedTeacher
from specs_lab.data.workshop import Drawing, Question, Workshop
from specs_lab.problems.tasks import Task

MODELS = ("self", "base", "teacher")
"""The model inputs of a construction: the model that is distilled, the one that the cold start starts from, another."""


@option("teacher", "model")
@dataclass(kw_only=True)
class ModelTeacher(AskedTeacher):
    """Samples from a model.

    Attributes:
        model: Which: ``self``, ``base`` or ``teacher``, as the recipe's stage names them.
    """

    model: str = "teacher"

    def __post_init__(self) -> None:
        Checks().one_of("model", self.model, MODELS).done()

    def reads(self) -> tuple[str, ...]:
        """The model."""
        return (self.model,)

    @property
    def source(self) -> str:
        """The model's name."""
        return self.model

    def write(self, tasks: Sequence[Task], shop: Workshop, count: int, drawing: Drawing) -> list[list[str]]:
        """Samples responses."""
        return shop.ask(self.model, "chosen", tasks, count, drawing)

    def ask(self, questions: Sequence[Question], shop: Workshop, count: int, drawing: Drawing) -> list[list[str]]:
        """Samples from the model."""
        return shop.sample(self.model, questions, count, drawing)
