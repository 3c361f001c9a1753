"""What a public benchmark is: how its rows are read, asked about, scored and summed up.

Everything here works on one row and one response at a time and needs neither a model nor the dataset: what scoring
wants beside the row is kept in :attr:`Item.extra`, so that stored responses can be scored again later.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from specs_lab.core.registry import Registry
from specs_lab.problems.rows import ProblemRow
from specs_lab.rewards.grader import Verdict
from specs_lab.rewards.judge import Judge


@dataclass(frozen=True, kw_only=True)
class Item:
    """What a row of a benchmark becomes.

    Attributes:
        row: The problem: question, gold answer, pictures, and what decides how answers are compared.
        extra: Whatever scoring and summaries need beside it, as JSON data. It is stored with the responses.
    """

    row: ProblemRow
    extra: Mapping[str, Any] = field(default_factory=dict)


Scored = Sequence[tuple[Item, Verdict]]
"""Items and what became of the response to each."""
Summary = dict[str, float | tuple[float, int]]
"""Values by name; with a number of rows behind a value, if it is a mean over them."""
Parts = dict[str, Sequence[tuple[float, float]]]
"""Metrics that are shares, as ratios of sums: by name, the numerator and the denominator of each independent unit, such
as a group of rows. Denominators count rows, or groups."""


COUNTS = "groups/"
"""How names of metrics begin that are numbers of groups, not shares."""


class Benchmark(ABC):
    """A public benchmark. Subclasses have no state, and register themselves in :data:`BENCHMARKS`."""

    name: ClassVar[str]
    uses_grader: ClassVar[bool] = True
    """Whether gold answers are read by :func:`specs_lab.rewards.grader.grade`; they are then checked as rows are read.
    Without, a benchmark has rules of its own for all of them."""

    @abstractmethod
    def read(self, row: Mapping[str, Any]) -> Item:
        """Reads a row as the dataset holds it, pictures undecoded.

        Raises:
            BrokenRow: If it cannot be asked or scored; says why.
        """

    @abstractmethod
    def ask(self, item: Item) -> str:
        """The prompt: question, options and hints as the public evaluation asks them.

        It has an ``<image>`` mark for each picture, or none (pictures then come first), and says nothing of the form
        of the answer: the suite's instruction does.
        """

    @abstractmethod
    def score(self, item: Item, response: str, judge: Judge | None) -> Verdict:
        """Whether a response is right, by rule; a judge, if there is one, is asked about what no rule can decide.

        Args:
            item: What was asked. Its pictures may be missing.
            response: All of the response.
            judge: Judges open answers.
        """

    def unit(self, item: Item) -> str:
        """What an item stands or falls with: items of a unit, such as versions of one problem, are not independent.

        Intervals are over units. By default every item is one.
        """
        return item.row.id

    def parts(self, scored: Scored) -> Parts:
        """Metrics beside the accuracy over all items; intervals are over their units. None by default."""
        del scored
        return {}

    def summary(self, scored: Scored) -> Summary:
        """Further metrics beside the accuracy over all items, by name; by default those of :meth:`parts`.

        What is none of :meth:`parts` has no interval.
        """
        found: Summary = {}
        for name, units in self.parts(scored).items():
            total = sum(under for _, under in units)
            found[name] = (sum(top for top, _ in units) / total if total else math.nan, int(total))
        return found


BENCHMARKS: Registry[type[Benchmark]] = Registry("benchmark", "specs_lab.evaluation.benchmarks")
"""The benchmarks by name; ``@BENCHMARKS.register("mathvista")`` stands above the class."""


def accuracy_parts(
    scored: Scored, labels: Callable[[Item], Iterable[str]], unit: Callable[[Item], str] | None = None
) -> Parts:
    """The accuracy of each label, see :meth:`Benchmark.parts`.

    Args:
        scored: Items with verdicts.
        labels: The names of the metrics that an item counts for, e.g. ``["subject/algebra", "level/3"]``.
        unit: The unit that an item belongs to, see :meth:`Benchmark.unit`; None: every item is one.
    """
    found: dict[str, dict[object, tuple[float, float]]] = {}
    for number, (item, verdict) in enumerate(scored):
        own = number if unit is None else unit(item)
        for label in labels(item):
            units = found.setdefault(label, {})
            right, rows = units.get(own, (0.0, 0.0))
            units[own] = (right + verdict.correct, rows + 1)
    return {label: list(found[label].values()) for label in sorted(found)}
