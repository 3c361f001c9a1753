"""Several benchmarks as one suite, each the cell of its name, e.g. the five that SPECS reports (arXiv 2510.25801)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from specs_lab.core.options import option
from specs_lab.evaluation.suites.base import Suite, held_out
from specs_lab.evaluation.suites.benchmark import BENCHMARK_FILE, BenchmarkSuite
from specs_lab.problems.tasks import ProblemSource, Task
from specs_lab.rewards.judge import Judge
from specs_lab.rewards.scoring import Score

if TYPE_CHECKING:
    from specs_lab.evaluation.runner import Sample

_ID = "id"


@option("suite", "several")
@dataclass(kw_only=True)
class SeveralSuites(Suite):
    """Benchmarks, and ``id``: the first ``n`` held-out problems of the study.

    ``cells``, ``gf_id`` and ``gf_ood`` (the first benchmark) follow from the parts unless they are set.

    Attributes:
        parts: The benchmarks by name; each is a choice of the group ``suite``. How responses are sampled is the suite's
            business and the same for all; what the parts say of it does not count.
        with_id: Whether the study's own problems are measured too.
    """

    code: ClassVar[tuple[str, ...]] = BenchmarkSuite.code

    parts: dict[str, BenchmarkSuite] = field(default_factory=dict)
    with_id: bool = True
    temperature: float = 0.0
    max_new_tokens: int = 2048
    gf_id: str = ""
    gf_ood: str = ""

    def __post_init__(self) -> None:
        shared = {"with_id": False, "temperature": self.temperature, "max_new_tokens": self.max_new_tokens}
        self.parts = {
            name: replace(part, cells=[], gf_id="", gf_ood="", n=self.n, **shared) for name, part in self.parts.items()
        }
        names = [part.benchmark for part in self.parts.values()]
        own = [_ID, *names] if self.with_id else names
        self.cells = self.cells or own
        self.gf_id, self.gf_ood = self.gf_id or next(iter(own), ""), self.gf_ood or next(iter(names), "")
        checks = self.checks()
        checks.that(bool(names), "parts", "is empty", "add one: +suite@suite.parts.<name>=<choice>")
        twice = sorted({name for name in names if names.count(name) > 1})
        checks.that(not twice, "parts", f"{', '.join(twice)} is measured twice", "leave one out")
        missing = sorted(set(names) - set(self.cells))
        checks.that(not missing, "cells", f"lacks {', '.join(missing)}", "add it, or leave cells out")
        checks.done()

    @property
    def own_cells(self) -> tuple[str, ...]:
        """The benchmarks."""
        return tuple(part.benchmark for part in self.parts.values())

    def identity(self) -> Mapping[str, Any]:
        """The commit of each part's dataset, or a hash of its local copy."""
        from specs_lab.problems.identity import content_hash

        return {
            name: part.identity() or {"content": content_hash(Path(part.path))} for name, part in self.parts.items()
        }

    def told(self) -> str:
        """One line about how many rows of each are used, for the log."""
        return "; ".join(part.told() for part in self.parts.values())

    def tasks(self, problems: ProblemSource) -> list[Task]:
        """The study's held-out problems, and every usable row of every benchmark."""
        tasks = held_out(problems, [cell for cell in self.cells if cell not in self.own_cells], self.n)
        return tasks + [task for part in self.parts.values() for task in part.tasks(problems)]

    def graded(self, tasks: Sequence[Task]) -> list[Task]:
        """Those of the study; the benchmarks' rows were checked when they were read, and bad ones counted."""
        return [task for task in tasks if task.cell not in self.own_cells]

    def score(self, texts: Sequence[str], tasks: Sequence[Task], judge: Judge | None) -> Sequence[Score]:
        """Own problems as ever; rows of each benchmark by its own rules."""
        found: dict[int, Score] = {}
        for name in dict.fromkeys(task.cell for task in tasks):
            places = [index for index, task in enumerate(tasks) if task.cell == name]
            part = self._part(name)
            score = super().score if part is None else part.score
            found |= zip(places, score([texts[i] for i in places], [tasks[i] for i in places], judge), strict=True)
        return [found[index] for index in range(len(tasks))]

    def stored(self, task: Task) -> Mapping[str, Any]:
        """What the task's benchmark keeps."""
        part = self._part(task.cell)
        return super().stored(task) if part is None else part.stored(task)

    def summaries(self, samples: Sequence[Sample]) -> Mapping[tuple[str, str], tuple[float, int]]:
        """The metrics of all benchmarks."""
        return {key: value for part in self.parts.values() for key, value in part.summaries(samples).items()}

    def files(self, samples: Sequence[Sample]) -> Mapping[str, Any]:
        """``benchmark.json``: what each benchmark says, by name."""
        return {BENCHMARK_FILE: {p.benchmark: p.files(samples)[BENCHMARK_FILE] for p in self.parts.values()}}

    def _part(self, cell: str) -> BenchmarkSuite | None:
        return next((part for part in self.parts.values() if part.benchmark == cell), None)
