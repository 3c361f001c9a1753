"""Several sources of problems as one, e.g. the two datasets that SPECS trains on (arXiv 2510.25801)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property, lru_cache
from random import Random
from typing import Any

from specs_lab.core.options import Checks, option
from specs_lab.core.progress import Progress
from specs_lab.core.seeding import python_rng
from specs_lab.problems.base import Split
from specs_lab.problems.tasks import Cell, ProblemSource, Task, TaskRef

_SEPARATOR = ":"
Turn = tuple[str, int]
"""A part, and which of its own tasks."""


@option("problems", "several")
@dataclass(kw_only=True)
class SeveralProblems(ProblemSource):
    """A mixture of other sources. Its cells are those that all parts have; what they mean, each part says.

    Attributes:
        cells: Taken from the parts, and not to be given.
        parts: The sources by name; each is a choice of the group ``problems``.
        weights: How often each is drawn from, in any unit; without any, as often as it has problems. Held-out problems
            never come twice: a part that has no more leaves the rest to the others.
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
        """The ``index``-th task of a cell; depends on the arguments only.

        Every part is asked for its own first task, its second and so on, so that what it promises of their order holds.
        Without weights, every problem of all parts comes once before any comes again.

        Raises:
            UserError: If the cell has no problem in this split.
        """
        sizes = {name: part.size(cell, split) for name, part in self.parts.items()}
        known = {name: size for name, size in sizes.items() if size is not None}
        total = sum(known.values())
        if len(known) == len(sizes) and not total:
            name, own = next(iter(self.parts)), index  # which says what is wrong
        elif len(known) < len(sizes) or (self.weights and split == "train"):
            name, own = self._endless(cell, split, stream)[index]
        else:
            epoch, place = divmod(index, total)
            name, rank = self._orders(cell, split, stream, epoch)[place]
            own = epoch * known[name] + rank
        return _named(name, self.parts[name].draw_task(cell, split, stream, own))

    def __getstate__(self) -> dict[str, Any]:
        return {one.name: getattr(self, one.name) for one in fields(self)}

    @cached_property
    def _orders(self) -> Any:
        """Whose turn it is in an epoch of a stream; a few are kept."""
        return lru_cache(maxsize=16)(self._order)

    @cached_property
    def _endless(self) -> Any:
        """Whose turn it is in a stream without epochs; a few are kept."""
        return lru_cache(maxsize=16)(self._turns)

    def _order(self, cell: str, split: Split, stream: str, epoch: int) -> list[Turn]:
        """Every problem of all parts once; parts take turns by weight as long as they have any left."""
        rng = python_rng("several", self.seed, cell, split, stream, epoch)
        left = {name: part.size(cell, split) or 0 for name, part in self.parts.items()}
        if not self.weights:
            names = [name for name, size in left.items() for _ in range(size)]
            rng.shuffle(names)
        else:
            names = []
            while there := [name for name, size in left.items() if size]:
                names += rng.choices(there, [self.weights[name] for name in there])
                left[names[-1]] -= 1
        return _ranked(names)

    def _turns(self, cell: str, split: Split, stream: str) -> _Turns:
        weights = {name: self._weight(name, cell, split) for name in self.parts}
        return _Turns(python_rng("several", self.seed, cell, split, stream), weights)

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
        size = self.parts[name].size(cell, split)
        if self.weights:
            return self.weights[name] if size != 0 else 0.0
        return 1.0 if size is None else float(size)


class _Turns:
    """Parts drawn by weight without end, remembered as far as they were asked for."""

    def __init__(self, rng: Random, weights: Mapping[str, float]) -> None:
        self._rng = rng
        self._weights = weights
        self._counts = dict.fromkeys(weights, 0)
        self._turns: list[Turn] = []

    def __getitem__(self, index: int) -> Turn:
        while len(self._turns) <= index:
            (name,) = self._rng.choices(list(self._weights), list(self._weights.values()))
            self._turns.append((name, self._counts[name]))
            self._counts[name] += 1
        return self._turns[index]


def _ranked(names: Sequence[str]) -> list[Turn]:
    """Each name with how often it came before."""
    counts: dict[str, int] = {}
    turns = []
    for name in names:
        turns.append((name, counts.get(name, 0)))
        counts[name] = counts.get(name, 0) + 1
    return turns


def _named(part: str, task: Task) -> Task:
    """The task under a name that says from which part it is."""
    problem = replace(task.problem, id=f"{part}{_SEPARATOR}{task.problem.id}")
    return replace(task, id=f"{part}{_SEPARATOR}{task.id}", problem=problem)
