"""Scores stored responses again: no model, no dataset, only what ``samples.parquet`` holds."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from specs_lab.core.errors import Fault, UserError
from specs_lab.evaluation.benchmarks.base import BENCHMARKS, Item
from specs_lab.evaluation.benchmarks.intervals import ACCURACY, estimates
from specs_lab.evaluation.benchmarks.judging import score_all
from specs_lab.evaluation.benchmarks.storing import item_of
from specs_lab.metrics.passk import pass_at_k, powers_of_two
from specs_lab.metrics.statistics import Interval, bootstrap_interval
from specs_lab.rewards.grader import Verdict, grade_many
from specs_lab.rewards.judge import Judge
from specs_lab.tracking.rows import RESCORE_COLUMNS, SAMPLE_COLUMNS

if TYPE_CHECKING:
    import pandas as pd

SAMPLES, RESPONSES = "samples.parquet", "responses.parquet"
"""Evaluated responses, one to a problem; and those of an exploration, many to a problem."""
_EXPLORED = ("cell", "task_id", "k", "response", "answer", "correct", "extracted")
Row = dict[str, Any]
COLUMNS = (
    "where",
    "step",
    "cell",
    "task_id",
    "k",
    "benchmark",
    "gold",
    "kind",
    "old_extracted",
    "new_extracted",
    "old_correct",
    "new_correct",
    "old_score",
    "new_score",
    "changed",
    "reason",
)


@dataclass(frozen=True)
class Place:
    """An evaluation that was stored.

    Attributes:
        name: What people know it by: the job and the stage, or the artifact's folder.
        path: Its ``samples.parquet``, or an exploration's ``responses.parquet``.
    """

    name: str
    path: Path

    @property
    def explores(self) -> bool:
        """Whether there are many responses to each problem."""
        return self.path.name == RESPONSES


@dataclass(frozen=True)
class Metric:
    """A metric under the old and the new verdicts.

    Attributes:
        where: Name of the place.
        step: Training step of the evaluation.
        cell: The cell.
        name: Name of the metric.
        n: How many rows or groups it is of.
        old: As it was.
        new: As it is now.
        gained: Responses that were wrong and are right now; only for the accuracy of a cell.
        lost: Responses that were right and are wrong now; likewise.
    """

    where: str
    step: int
    cell: str
    name: str
    n: int
    old: Interval
    new: Interval
    gained: int | None = None
    lost: int | None = None


def find_places(folder: Path) -> list[Place]:
    """The evaluations of an artifact, a job or a sweep; each artifact once, by the first stage that made it.

    Raises:
        UserError: If there is none.
    """
    from specs_lab.tracking.frames import find_jobs, read_job

    if own := [Place(folder.name, folder / name) for name in (SAMPLES, RESPONSES) if (folder / name).is_file()]:
        return own
    found: dict[Path, Place] = {}
    for job in find_jobs(folder) if folder.is_dir() else []:
        for stage in read_job(job).stages.values():
            for path in [(stage.folder / name).resolve() for name in (SAMPLES, RESPONSES)]:
                if path.is_file():
                    found.setdefault(path, Place(f"{job.name}/{stage.name}", path))
    if not found:
        fix = "give the folder of an artifact of the stages `evaluate` or `explore`, of a job, or of a sweep"
        raise UserError([Fault(str(folder), f"there are no stored responses ({SAMPLES}) in it", fix)])
    return list(found.values())


def rescore(place: Place, judge: Judge | None) -> tuple[pd.DataFrame, list[Metric]]:
    """Scores the responses of one place.

    Args:
        place: Where they are.
        judge: Asked about what no rule can decide.

    Returns:
        A row for each response, with :data:`COLUMNS`, and the metrics of every evaluation.

    Raises:
        UserError: If the file is older than what scoring again needs, or an item cannot be read.
    """
    stored = _read(place)
    verdicts, items = _verdicts(place, stored, judge)
    table = _table(place, stored, verdicts)
    metrics = []
    if place.explores:
        for cell, group in table.groupby("cell", sort=False):
            metrics += _explored_metrics(place, str(cell), group)
        return table, metrics
    for (step, cell), group in table.groupby(["step", "cell"], sort=False):
        rows = [int(index) for index in group.index]
        metrics += _metrics(place, int(step), str(cell), group, [(items[i], verdicts[i]) for i in rows])  # pyright: ignore[reportArgumentType]
    return table, metrics


def _read(place: Place) -> list[Row]:
    """The stored rows, None where a cell has no value.

    Raises:
        UserError: If a column is missing.
    """
    from pyarrow import parquet

    wanted = list(dict.fromkeys([*(_EXPLORED if place.explores else SAMPLE_COLUMNS), *RESCORE_COLUMNS]))
    missing = [name for name in wanted if name not in parquet.read_schema(place.path).names]
    if missing:
        what = f"was written before responses could be scored again: it has no column {', '.join(missing)}"
        raise UserError([Fault(f"{place.name}: {place.path}", what, "delete the artifact and evaluate again")])
    rows = parquet.read_table(place.path, columns=wanted).to_pylist()
    return [{"step": 0, "accuracy": row.get("correct"), "k": 0, **row} for row in rows]


def _verdicts(place: Place, rows: Sequence[Row], judge: Judge | None) -> tuple[list[Verdict], list[Item | None]]:
    """What each response is now, and the benchmark's item behind it, if there is one."""
    items = [_item(place, row) if row["benchmark"] else None for row in rows]
    others = [row for row, item in zip(rows, items, strict=True) if item is None]
    plain = iter(_graded(others, judge))
    found: dict[int, Verdict] = {}
    for name in sorted({row["benchmark"] for row in rows if row["benchmark"]}):
        some = [(i, item) for i, item in enumerate(items) if item is not None and rows[i]["benchmark"] == name]
        responses = [rows[i]["response"] for i, _ in some]
        scored = score_all(BENCHMARKS.get(name)(), [item for _, item in some], responses, judge)
        found.update(zip((i for i, _ in some), scored, strict=True))
    return [found[i] if i in found else next(plain) for i in range(len(rows))], items


def _item(place: Place, row: Row) -> Item:
    try:
        return item_of(row["item"])
    except ValueError as error:
        what = f"the item of {row['task_id']} cannot be read ({error})"
        raise UserError([Fault(str(place.path), what, "delete the artifact and evaluate again")]) from error


def _graded(rows: Sequence[Row], judge: Judge | None) -> list[Verdict]:
    """The verdicts on the study's own problems, all at once."""
    return grade_many(
        [row["response"] for row in rows],
        [row["answer"] for row in rows],
        [row["asked_kind"] or None for row in rows],
        choices=[tuple(json.loads(row["choices"])) for row in rows],
        precisions=[row["precision"] for row in rows],
        units=[row["unit"] or None for row in rows],
        questions=[row["question"] for row in rows],
        judge=judge,
    )


def _table(place: Place, stored: Sequence[Row], verdicts: Sequence[Verdict]) -> pd.DataFrame:
    import pandas as pd

    columns = {
        "where": [place.name] * len(stored),
        **{name: [row[name] for row in stored] for name in ("step", "cell", "task_id", "k", "benchmark")},
        "gold": [row["answer"] for row in stored],
        "kind": [verdict.kind for verdict in verdicts],
        "old_extracted": [row["extracted"] for row in stored],
        "new_extracted": [verdict.extracted for verdict in verdicts],
        "old_correct": [row["accuracy"] for row in stored],
        "new_correct": [verdict.correct for verdict in verdicts],
        "old_score": [row["score"] for row in stored],
        "new_score": [verdict.score for verdict in verdicts],
        "changed": [row["accuracy"] != one.correct for row, one in zip(stored, verdicts, strict=True)],
        "reason": [verdict.reason for verdict in verdicts],
    }
    return pd.DataFrame(columns, columns=list(COLUMNS))


def _metrics(
    place: Place, step: int, cell: str, group: pd.DataFrame, now: Sequence[tuple[Item | None, Verdict]]
) -> Iterator[Metric]:
    """The accuracy of a cell before and now, and what else its benchmark measures."""
    old, new = (group[name].to_numpy(dtype=np.float64) for name in ("old_correct", "new_correct"))
    gained, lost = int(((old == 0) & (new == 1)).sum()), int(((old == 1) & (new == 0)).sum())
    scored = [(item, verdict) for item, verdict in now if item is not None]
    if not scored:
        before, after = (bootstrap_interval(values, seed=f"rescore/{cell}") for values in (old, new))
        yield Metric(place.name, step, cell, ACCURACY, len(group), before, after, gained, lost)
        return
    was = [
        (item, Verdict(bool(row.old_correct), str(row.kind), row.old_extracted, "", float(row.old_score)))  # pyright: ignore
        for (item, _), row in zip(scored, group.itertuples(), strict=True)
    ]
    benchmark = BENCHMARKS.get(str(group["benchmark"].iloc[0]))()
    found = [estimates(benchmark, some) for some in (was, scored)]
    for name in dict.fromkeys([*found[0], *found[1]]):
        ends = [_interval(one.get(name)) for one in found]
        n = next(int(one[name]["n"]) for one in reversed(found) if name in one)
        changes = (gained, lost) if name == ACCURACY else (None, None)
        yield Metric(place.name, step, cell, name, n, ends[0], ends[1], *changes)


def _explored_metrics(place: Place, cell: str, group: pd.DataFrame) -> Iterator[Metric]:
    """pass@k of a cell before and now, with intervals over problems."""
    old, new = (group[name].to_numpy(dtype=np.float64) for name in ("old_correct", "new_correct"))
    gained, lost = int(((old == 0) & (new == 1)).sum()), int(((old == 1) & (new == 0)).sum())
    by_task = group.groupby("task_id", sort=False)[["old_correct", "new_correct"]]
    counts = by_task.sum().to_numpy(dtype=np.int64)
    sizes = by_task.size().to_numpy(dtype=np.int64)
    for k in powers_of_two(int(sizes.min())):
        ends = [
            bootstrap_interval(
                np.array([pass_at_k(int(n), int(c), k) for n, c in zip(sizes, right, strict=True)]),
                seed=f"rescore/{cell}",
            )
            for right in counts.T
        ]
        changes = (gained, lost) if k == 1 else (None, None)
        yield Metric(place.name, 0, cell, f"pass@{k}", len(sizes), ends[0], ends[1], *changes)


def _interval(found: dict[str, Any] | None) -> Interval:
    """An interval of what :func:`~specs_lab.evaluation.benchmarks.intervals.estimates` says of a metric."""
    ends = [math.nan if found is None or found[name] is None else found[name] for name in ("value", "low", "high")]
    return Interval(*ends)
