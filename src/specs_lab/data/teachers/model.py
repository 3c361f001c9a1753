"""A model of the study as the teacher: the one that is distilled, the base model, or another checkpoint."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from specs_lab.core.options import Checks, option
from specs_lab.data.teachers.base import Teacher, unseen
from specs_lab.data.workshop import Drawing, Question, Workshop
from specs_lab.problems.sources.procedural import Task

MODELS = ("self", "base", "teacher")
"""The model inputs of a construction: the model that is distilled, the one that the cold start starts from, another."""


@option("teacher", "model")
@dataclass(kw_only=True)
class ModelTeacher(Teacher):
    """Samples from a model.

    Attributes:
        model: Which: ``self``, ``base`` or ``teacher``, as the recipe's stage names them.
        caption_prompt: Asks for a description of the picture.
    """

    model: str = "teacher"
    caption_prompt: str = "Describe the picture."

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

    def caption(self, tasks: Sequence[Task], shop: Workshop, drawing: Drawing) -> list[str]:
        """One description of each picture."""
        return self.reply([shop.question(task, "caption", self.caption_prompt) for task in tasks], shop, drawing)

    def write_unseen(
        self, tasks: Sequence[Task], captions: Sequence[str], shop: Workshop, count: int, drawing: Drawing
    ) -> list[list[str]]:
        """Samples responses to tasks with descriptions in the place of pictures."""
        both = zip(tasks, captions, strict=True)
        questions = [unseen(task, caption, "unseen", shop) for task, caption in both]
        return shop.sample(self.model, questions, count, drawing)

    @property
    def replies(self) -> bool:
        """A model can be asked anything."""
        return True

    def reply(self, questions: Sequence[Question], shop: Workshop, drawing: Drawing) -> list[str]:
        """Samples one reply to each question; empty where it was cut off."""
        return [texts[0] if texts else "" for texts in shop.sample(self.model, questions, 1, drawing)]
