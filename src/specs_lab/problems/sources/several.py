"""Several sources of problems as one, e.g. the two datasets that SPECS trains on (arXiv 2510.25801)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from specs_lab.core.options import Checks, option
from specs_lab.core.progress import Progress
from specs_lab.core.seeding import python_rng
from specs_lab.problems.base import Split
from specs_lab.problems.tasks import Cell, ProblemSource, Task, TaskRef

_SEPARATOR = ":"


@option("problems", "several")
@dataclass(kw_only=True)
class SeveralProblems(ProblemSource):
    """A mixture of other sources. Its cells are those that all parts have; what they mean, each part says.

    Attributes:
        cells: Taken from the parts, and not to be given.
        parts: The sources by name; each is a choice of the group ``problems``.
        weights: How often each is drawn from, in any unit; without any, as often as it has problems.
        seed: Of which part a problem is drawn from.
    """

    parts: dict[str, ProblemSource] = field(default_factory=dict)
    weights: dict[str, float] = field(default_factory=dict)
    seed: int = 0

    def __post_init__(self) -> None:
        fix = "add one: +problems@problems.parts.<name>=<choice>"
        checks = Checks().that(bool(self.parts), "parts", "is empty", fix)
        for name in self.parts:
            fix = f"choose another name than '{name}'"
            checks.that(_SEPARATOR not in name, "parts", f"names must not hold '{_SEPARATOR}'", fix)
        for name in self.weights:
            checks.one_of("weights", name, tuple(self.parts)).positive(f"weights.{name}", self.weights[name])
        unnamed = sorted(set(self.parts) - set(self.weights)) if self.weights else []
        checks.that(not unnamed, "weights", f"there is none for {', '.join(unnamed)}", "weigh all parts, or none")
        common = self._common_cells()
        checks.that(not self.parts or bool(common), "parts", "have no cell in common", "give them like cells")
        checks.that(self.cells in ({}, common), "cells", "are those of the parts", "change the parts' cells")
        checks.done()
        self.cells = common

    def _common_cells(self) -> dict[str, Cell]:
        """The cells that all parts have, as the first has them."""
        first, *others = self.parts.values() or [None]
        cells = {} if first is None else first.cells
        return {name: cell for name, cell in cells.items() if all(name in other.cells for other in others if other)}

    def identity(self) -> Mapping[str, Any] | None:
        """What names the content of each part that can be told by name."""
        return {name: part.identity() for name, part in self.parts.items()}

    def prepare(self, progress: Progress) -> None:
        """Prepares the parts, one after the other."""
        for part in self.parts.values():
            part.prepare(progress)

    def size(self, cell: str, split: Split) -> int | None:
        """The problems of all parts together; endless if one is."""
        sizes = [part.size(cell, split) for part in self.parts.values()]
        known = [size for size in sizes if size is not None]
        return sum(known) if len(known) == len(sizes) else None

    def draw_task(self, cell: str, split: Split, stream: str, index: int) -> Task:
        """The ``index``-th task of a cell; depends on the arguments only."""
        rng = python_rng("several", self.seed, cell, split, stream, index)
        (name,) = rng.choices(list(self.parts), [self._weight(name, cell, split) for name in self.parts])
        return _named(name, self.parts[name].draw_task(cell, split, stream, index))

    def redraw(self, ref: TaskRef) -> Task:
        """The task of a reference, as :meth:`draw_task` drew it.

        Raises:
            ValueError: If it is no name of a task.
        """
        name, separator, rest = ref.id.partition(_SEPARATOR)
        if not separator or name not in self.parts:
            raise ValueError(f"'{ref.id}' is no name of a task")
        return _named(name, self.parts[name].redraw(replace(ref, id=rest)))

    def _weight(self, name: str, cell: str, split: Split) -> float:
        if self.weights:
            return self.weights[name]
        size = self.parts[name].size(cell, split)
        return 1.0 if size is None else float(size)


def _named(part: str, task: Task) -> Task:
    """The task under a name that says from which part it is."""
    problem = replace(task.problem, id=f"{part}{_SEPARATOR}{task.problem.id}")
    return replace(task, id=f"{part}{_SEPARATOR}{task.id}", problem=problem)
