"""What a teacher is: whoever writes the responses that are distilled."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace

from specs_lab.data.workshop import Drawing, Question, Workshop
from specs_lab.problems.tasks import Task


@dataclass(kw_only=True)
class Teacher(ABC):
    """Writes responses; a subclass under ``@option("teacher", …)`` says how."""

    def reads(self) -> tuple[str, ...]:
        """The model inputs that it asks."""
        return ()

    @property
    @abstractmethod
    def source(self) -> str:
        """What it is called in the data that it wrote."""

    @abstractmethod
    def write(self, tasks: Sequence[Task], shop: Workshop, count: int, drawing: Drawing) -> list[list[str]]:
        """Up to ``count`` responses to each task."""

    def caption(self, tasks: Sequence[Task], shop: Workshop, drawing: Drawing) -> list[str]:
        """What each task's picture shows, in words; empty where it cannot say."""
        raise NotImplementedError(f"{type(self).__name__} describes no pictures")

    def write_unseen(
        self, tasks: Sequence[Task], captions: Sequence[str], shop: Workshop, count: int, drawing: Drawing
    ) -> list[list[str]]:
        """Up to ``count`` responses to each task, from a description of its picture instead of the picture."""
        raise NotImplementedError(f"{type(self).__name__} writes from no descriptions")

    @property
    def replies(self) -> bool:
        """Whether it can be asked anything else than tasks."""
        return False

    def reply(self, questions: Sequence[Question], shop: Workshop, drawing: Drawing) -> list[str]:
        """One reply to each question; empty where there is none."""
        raise NotImplementedError(f"{type(self).__name__} answers tasks only")


@dataclass(kw_only=True)
class AskedTeacher(Teacher):
    """A model, wherever it runs; a subclass says how it is asked.

    Attributes:
        caption_prompt: Asks for a description of the picture.
    """

    caption_prompt: str = "Describe the picture."

    @abstractmethod
    def ask(self, questions: Sequence[Question], shop: Workshop, count: int, drawing: Drawing) -> list[list[str]]:
        """Samples up to ``count`` replies to each question; those that were cut off are left out."""

    def caption(self, tasks: Sequence[Task], shop: Workshop, drawing: Drawing) -> list[str]:
        """One description of each picture."""
        return self.reply([shop.question(task, "caption", self.caption_prompt) for task in tasks], shop, drawing)

    def write_unseen(
        self, tasks: Sequence[Task], captions: Sequence[str], shop: Workshop, count: int, drawing: Drawing
    ) -> list[list[str]]:
        """Samples responses to tasks with descriptions in the place of pictures."""
        both = zip(tasks, captions, strict=True)
        return self.ask([unseen(task, caption, "unseen", shop) for task, caption in both], shop, count, drawing)

    @property
    def replies(self) -> bool:
        """A model can be asked anything."""
        return True

    def reply(self, questions: Sequence[Question], shop: Workshop, drawing: Drawing) -> list[str]:
        """Samples one reply to each question; empty where it was cut off."""
        return [texts[0] if texts else "" for texts in self.ask(questions, shop, 1, drawing)]


def unseen(task: Task, caption: str, side: str, shop: Workshop) -> Question:
    """A task as a question about a described picture, without the picture."""
    return replace(shop.question(task, side, f"Picture: {caption}. {task.text}"), images=(), image_key="")
