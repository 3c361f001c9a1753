"""The suite that measures a public benchmark, beside held-out problems of the study's own source."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from specs_lab.core.options import Checks, option
from specs_lab.evaluation.suites.base import Suite, held_out
from specs_lab.problems.instructions import INSTRUCTIONS
from specs_lab.problems.tasks import ProblemSource, Task
from specs_lab.rewards.judge import Judge
from specs_lab.rewards.scoring import VERDICT, Score

if TYPE_CHECKING:
    from specs_lab.evaluation.benchmarks.base import Benchmark, Item
    from specs_lab.evaluation.benchmarks.loading import Loaded
    from specs_lab.evaluation.runner import Sample
    from specs_lab.rewards.grader import Verdict

BENCHMARK_FILE = "benchmark.json"
"""Every metric of the benchmark with its interval, and how many rows are broken, by reason."""
_ID = "id"


@option("suite", "benchmark")
@dataclass(kw_only=True)
class BenchmarkSuite(Suite):
    """A public benchmark as the cell of its name, and ``id``: the first ``n`` held-out problems of the study.

    ``cells``, ``gf_id`` and ``gf_ood`` follow from the benchmark unless they are set.

    Attributes:
        benchmark: Its name, see :data:`specs_lab.evaluation.benchmarks.base.BENCHMARKS`.
        repo: The dataset on the hub.
        revision: A commit, or what the hub, or else the local cache, knows one by.
        path: A local copy of the dataset; comes before ``repo``.
        configs: Configurations of the dataset, one after the other; none: its default.
        split: The split.
        images: Sub-folder where the paths of pictures start, for datasets that hold paths.
        archives: Zip or tar files of the dataset that hold the pictures.
        limit: So many rows of the start of each configuration; 0: all.
        instruction: What is said of the answer's form, a name in :data:`~specs_lab.problems.instructions.INSTRUCTIONS`.
        with_id: Whether the study's own problems are measured too.
        max_broken: Largest share of rows that may be unusable.
    """

    code: ClassVar[tuple[str, ...]] = ("specs_lab.evaluation.benchmarks",)

    benchmark: str = "???"
    repo: str = ""
    revision: str = "main"
    path: str = ""
    configs: list[str] = field(default_factory=list)
    split: str = "test"
    images: str = ""
    archives: list[str] = field(default_factory=list)
    limit: int = 0
    temperature: float = 0.0
    max_new_tokens: int = 2048
    instruction: str = "tags"
    with_id: bool = True
    max_broken: float = 0.02
    gf_id: str = ""
    gf_ood: str = ""

    def __post_init__(self) -> None:
        own = [_ID, self.benchmark] if self.with_id else [self.benchmark]
        self.cells = self.cells or own
        self.gf_id, self.gf_ood = self.gf_id or own[0], self.gf_ood or self.benchmark
        checks = self.checks().at_least("limit", self.limit, 0).share("max_broken", self.max_broken)
        _check_name(checks, self.benchmark)
        checks.one_of("instruction", self.instruction, tuple(INSTRUCTIONS))
        fix = "name the dataset by repo, or a local copy by path"
        checks.that(bool(self.repo or self.path), "repo", "there is no dataset", fix)
        there = not self.path or Path(self.path).exists()
        checks.that(there, "path", f"there is no '{self.path}'", "give the path of a local copy, or none")
        among = self.benchmark in self.cells
        checks.that(
            among, "cells", f"'{self.benchmark}' is not among them", f"add {self.benchmark}, or leave cells out"
        )
        checks.done()

    @property
    def own_cells(self) -> tuple[str, ...]:
        """The benchmark."""
        return (self.benchmark,)

    @property
    def folder(self) -> Path | None:
        """The local copy; it enters keys of stages by its content."""
        return Path(self.path) if self.path else None

    def identity(self) -> Mapping[str, Any] | None:
        """The commit of the dataset; None for a local copy, whose files count."""
        if self.path:
            return None
        from specs_lab.core.hub import commit_of

        return {"commit": commit_of(self.repo, self.revision, "dataset")}

    def loaded(self) -> Loaded:
        """The benchmark's rows, read once in a process.

        Raises:
            UserError: If the dataset cannot be read, or too many rows are broken.
        """
        from specs_lab.core.hub import commit_of
        from specs_lab.evaluation.benchmarks.loading import load
        from specs_lab.problems.tables import TableRef

        commit = "" if self.path else commit_of(self.repo, self.revision, "dataset")
        tables = tuple(
            TableRef(
                repo=self.repo,
                revision=commit,
                path=self.path,
                config=config,
                split=self.split,
                archives=tuple(self.archives),
                images=self.images,
                limit=self.limit or None,
            )
            for config in (self.configs or [None])
        )
        return load(self.benchmark, tables, self.max_broken)

    def made(self) -> Benchmark:
        """The benchmark."""
        from specs_lab.evaluation.benchmarks.base import BENCHMARKS

        return BENCHMARKS.get(self.benchmark)()

    def tasks(self, problems: ProblemSource) -> list[Task]:
        """The study's held-out problems, and every usable row of the benchmark."""
        from specs_lab.evaluation.benchmarks.loading import task_of

        benchmark, rows, instruction = self.made(), self.loaded(), INSTRUCTIONS[self.instruction]
        others = held_out(problems, [cell for cell in self.cells if cell != self.benchmark], self.n)
        return [*others, *(task_of(benchmark, item, rows.folder, instruction) for item in rows.items)]

    def graded(self, tasks: Sequence[Task]) -> list[Task]:
        """Those of the study; the benchmark's rows were checked when they were read, and bad ones counted."""
        return [task for task in tasks if task.cell != self.benchmark]

    def score(self, texts: Sequence[str], tasks: Sequence[Task], judge: Judge | None) -> Sequence[Score]:
        """Own problems as ever; rows of the benchmark by its own rules."""
        from specs_lab.evaluation.benchmarks.judging import score_all
        from specs_lab.rewards.format import follows

        others = [index for index, task in enumerate(tasks) if task.cell != self.benchmark]
        graded = super().score([texts[i] for i in others], [tasks[i] for i in others], judge) if others else []
        found = dict(zip(others, graded, strict=True))
        own = [index for index in range(len(tasks)) if index not in found]
        verdicts = score_all(self.made(), [_item(tasks[i]) for i in own], [texts[i] for i in own], judge)
        for index, verdict in zip(own, verdicts, strict=True):
            found[index] = score_of(verdict, follows(texts[index], tasks[index].instruction.format))
        return [found[index] for index in range(len(tasks))]

    def stored(self, task: Task) -> Mapping[str, Any]:
        """For rows of the benchmark also all of the item but its pictures."""
        if task.cell != self.benchmark:
            return super().stored(task)
        from specs_lab.evaluation.benchmarks.storing import item_json

        item = _item(task)
        own = {"asked_kind": item.row.kind, "benchmark": self.benchmark, "item": item_json(item)}
        return {**super().stored(task), **own}

    def summaries(self, samples: Sequence[Sample]) -> Mapping[tuple[str, str], tuple[float, int]]:
        """The benchmark's own metrics, such as accuracies by category."""
        scored = _scored(samples, self.benchmark)
        return {
            (self.benchmark, name): value if isinstance(value, tuple) else (float(value), len(scored))
            for name, value in self.made().summary(scored).items()
        }

    def files(self, samples: Sequence[Sample]) -> Mapping[str, Any]:
        """``benchmark.json``: metrics with intervals, and what became of the rows."""
        from specs_lab.evaluation.benchmarks.intervals import HOW, estimates

        rows = self.loaded()
        return {
            BENCHMARK_FILE: {
                "benchmark": self.benchmark,
                "rows": rows.rows,
                "used": len(rows.items),
                "broken": rows.broken,
                "examples": {reason: list(texts) for reason, texts in rows.examples.items()},
                "interval": HOW,
                "metrics": estimates(self.made(), _scored(samples, self.benchmark)),
            }
        }

    def told(self) -> str:
        """One line about how many rows are used, for the log."""
        return f"{self.benchmark}: {self.loaded().told()}"


def score_of(verdict: Verdict, followed: bool) -> Score:
    """A verdict as evaluations keep it."""
    return Score(
        followed,
        verdict.correct,
        0.0,
        verdict.extracted,
        verdict.kind,
        terms={VERDICT: verdict.score},
        stopped=verdict.stopped,
    )


def _check_name(checks: Checks, name: str) -> None:
    from specs_lab.evaluation.benchmarks.base import BENCHMARKS

    checks.one_of("benchmark", name, tuple(BENCHMARKS.names()))


def _item(task: Task) -> Item:
    from specs_lab.evaluation.benchmarks.loading import BenchmarkTask

    if not isinstance(task, BenchmarkTask):
        raise TypeError(f"{task.id} is no task of a benchmark")
    return task.item


def _scored(samples: Sequence[Sample], benchmark: str) -> list[tuple[Item, Verdict]]:
    """The items of a benchmark with what their responses were found to be."""
    from specs_lab.rewards.grader import Verdict

    return [
        (
            _item(sample.task),
            Verdict(
                sample.score.accuracy,
                sample.score.kind,
                sample.score.extracted,
                "",
                sample.score.terms.get(VERDICT, float(sample.score.accuracy)),
                sample.score.stopped,
            ),
        )
        for sample in samples
        if sample.task.cell == benchmark
    ]
