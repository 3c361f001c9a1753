"""Tasks, what a model is prompted with, and the sources that they are drawn from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from PIL import Image

from specs_lab.core.progress import Progress
from specs_lab.core.seeding import python_rng
from specs_lab.problems.base import Problem, Split
from specs_lab.problems.instructions import Instruction

AXIS_VALUES = ("id", "ood")
INSTRUCTION_VALUES = ("id", "ood", "alternative")


@dataclass(kw_only=True)
class Cell:
    """Where a cell lies on each axis of shift.

    Attributes:
        family: ``id`` or ``ood``.
        instruction: ``id``, ``ood`` or ``alternative`` (another format is asked for).
        style: ``id`` or ``ood``.
    """

    family: str = "id"
    instruction: str = "id"
    style: str = "id"

    @property
    def is_inside(self) -> bool:
        """Whether it is in distribution on every axis."""
        return self.family == self.instruction == self.style == "id"


@dataclass(frozen=True)
class Task:
    """A problem with the instruction it is asked under; what a model is prompted with.

    Attributes:
        id: Unique name: the problem's id plus the instruction's name.
        cell: The cell it was drawn for.
        problem: The problem.
        instruction: The wording and the format it demands.
    """

    id: str
    cell: str
    problem: Problem
    instruction: Instruction

    @property
    def text(self) -> str:
        """The text of the user's turn; ``<image>`` in it says where a picture goes."""
        return self.instruction.ask(self.problem.question)

    @property
    def images(self) -> tuple[Image.Image, ...]:
        """The pictures."""
        return self.problem.images


@dataclass(frozen=True)
class TaskRef:
    """Which task, without its content.

    Attributes:
        id: The task's name.
        cell: The cell that it was drawn for.
        bucket: What it was put aside for, e.g. ``hard``.
    """

    id: str
    cell: str
    bucket: str = ""


@dataclass(kw_only=True)
class ProblemSource(ABC):
    """Where problems come from; the base class of all options of the group ``problems``.

    A *cell* says, for each axis of shift, whether it is in or out of distribution. The same cells serve training and
    evaluation; training draws from the training split only.

    Attributes:
        cells: The cells by name.
    """

    cells: dict[str, Cell] = field(default_factory=dict)

    @abstractmethod
    def draw_task(self, cell: str, split: Split, stream: str, index: int) -> Task:
        """The ``index``-th task of a cell; depends on the arguments only.

        Args:
            cell: A name in ``cells``.
            split: Which share of the content to draw from.
            stream: Separates uses, e.g. ``"zero/seed 0"`` and ``"evaluate"``.
            index: Position in the stream.
        """

    @abstractmethod
    def redraw(self, ref: TaskRef) -> Task:
        """The task of a reference, as :meth:`draw_task` drew it.

        Raises:
            ValueError: If it is no name of a task.
        """

    def identity(self) -> Mapping[str, Any] | None:
        """What names the problems' content for the keys of stages, beside the options; None: the options do."""
        return None

    def prepare(self, progress: Progress) -> None:
        """Does what takes long before the first problem can be drawn, unless that has been done before.

        Args:
            progress: Where it is shown.
        """
        del progress

    def size(self, cell: str, split: Split) -> int | None:
        """How many different problems there are; None: as many as one likes."""
        del cell, split
        return None

    def evaluation_split(self, cell: str) -> Split:
        """What a cell is measured on: ``id`` if it lies in distribution on every axis, else ``ood``."""
        return "id" if self.cells[cell].is_inside else "ood"

    def draw_mixed(self, mixture: Sequence[str], stream: str, index: int) -> Task:
        """The ``index``-th training task of a mixture of cells, each with equal probability.

        Args:
            mixture: Names in ``cells``.
            stream: Separates uses.
            index: Position in the stream.
        """
        cell = python_rng("mixture", stream, index).choice(list(mixture))
        return self.draw_task(cell, "train", stream, index)
