"""What a check of consistency is: it says whether the reasoning of a response leads to its answer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from specs_lab.data.workshop import Workshop
from specs_lab.problems.tasks import Task
from specs_lab.rewards.format import Parts


@dataclass(frozen=True)
class Said:
    """What a response says.

    Attributes:
        task: What it answers.
        parts: Its reasoning and its answer, free of tags.
    """

    task: Task
    parts: Parts


@dataclass(kw_only=True)
class Consistency(ABC):
    """Keeps responses whose reasoning leads to their answer; a subclass under ``@option("consistency", …)``."""

    def reads(self) -> tuple[str, ...]:
        """The model inputs that it asks."""
        return ()

    @abstractmethod
    def keep(self, said: Sequence[Said], shop: Workshop) -> list[bool]:
        """Whether each is kept."""
