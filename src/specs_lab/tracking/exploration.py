"""From many responses a problem to estimates: pass@k and the like, gains over the base model, and crossings.

A measure may have no value for a problem, such as the reflections of correct responses where none is correct. Problems
without a value for every seed are left out, of a difference those without one on either side; ``n`` says how many are
in. Differences between arms, and gains over the base model, are paired by problem and seed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from specs_lab.metrics.exploration import AMOUNTS, DIFFERENCES, JOINT_PASS, PASS
from specs_lab.metrics.passk import crossing
from specs_lab.metrics.statistics import RESAMPLES, Interval, Resampler
from specs_lab.tracking.estimates import EVALUATION, Estimate
from specs_lab.tracking.frames import Sweep, select
from specs_lab.tracking.scores import ALL_ARMS, Reading, Scores

Floats = NDArray[np.float64]

KIND = "explore"
EXPLORE_BASE, EXPLORE_ZERO = "explore_base", "explore_zero"
"""The stages of a recipe that explore the base model, which gains are taken over, and the zero model."""
GAIN = "gain_"
_NOTHING = "no problem has a value for every seed"


@dataclass(frozen=True)
class Crossing:
    """Where the curve of pass@k of one model passes that of another.

    Attributes:
        arm: The arm.
        stage: The stage that explored it.
        versus: The arm that it is compared with; that of the base model: its own, or :data:`ALL_ARMS`.
        versus_stage: The stage that explored that one.
        cell: The cell.
        metric: ``pass@`` (the answer is right) or ``joint pass@`` (format and answer are).
        k: From which k on the difference has another sign than at k = 1; None if it keeps its sign, or changes back.
        first: The difference at the smallest k: k, value, low, high.
        last: The difference at the largest k.
    """

    arm: str
    stage: str
    versus: str
    versus_stage: str
    cell: str
    metric: str
    k: int | None
    first: Mapping[str, float | None]
    last: Mapping[str, float | None]


@dataclass(frozen=True)
class Exploration:
    """What the stages that explore found.

    Attributes:
        estimates: Every measure, its gain over the base model, and its differences between arms.
        crossings: Of every two curves of pass@k that are compared.
        notes: What could not be compared, and why.
    """

    estimates: tuple[Estimate, ...] = field(default=())
    crossings: tuple[Crossing, ...] = field(default=())
    notes: tuple[str, ...] = field(default=())


def collect_measures(measures: pd.DataFrame, arm: str) -> Scores | None:
    """Makes scores of the measures of one stage, over all its jobs.

    Args:
        measures: Measures of one stage, tagged with ``seed`` and ``key``, as in
            :class:`specs_lab.tracking.frames.Sweep`.
        arm: The arm that it is reported under.

    Returns:
        The scores, (1, S, P) by cell and metric, NaN where a problem has no value; None if there are no measures.
    """
    if measures.empty:
        return None
    key_of = dict(sorted(set(zip(measures["seed"].tolist(), measures["key"].tolist(), strict=True))))
    keys = list(dict.fromkeys(key_of.values()))
    measures = measures.drop_duplicates(["key", "cell", "task_id", "metric"])
    tasks, values = {}, {}
    for cell, part in measures.groupby("cell", sort=False):
        names = sorted(set(part["task_id"]))
        tasks[cell] = tuple(names)
        place = (
            pd.Index(keys).get_indexer(part["key"].to_numpy()),
            pd.Index(names).get_indexer(part["task_id"].to_numpy()),
        )
        metric_of = part["metric"].to_numpy()
        for metric in dict.fromkeys(metric_of):
            mine = metric_of == metric
            array = np.full((1, len(keys), len(names)), np.nan)
            array[0, place[0][mine], place[1][mine]] = part["value"].to_numpy(dtype=np.float64)[mine]
            values[cell, metric] = array
    return Scores(
        arm=arm,
        stage=str(measures["stage"].iloc[0]),
        kind=KIND,
        steps=np.zeros(1, dtype=np.int64),
        flops=np.zeros((1, len(keys))),
        seed_index={seed: keys.index(key) for seed, key in key_of.items()},
        tasks=tasks,
        values=values,
        reading=Reading(),
    )


def explored(sweep: Sweep) -> list[Scores]:
    """What every arm's stages found; the base and zero models once where all arms share them."""
    shared = []
    for stage in (EXPLORE_BASE, EXPLORE_ZERO):
        artifacts = select(sweep.stages, stage=stage)[["seed", "key"]].drop_duplicates()
        if artifacts["seed"].is_unique:
            shared.append(collect_measures(select(sweep.measures, stage=stage), ALL_ARMS))
    found = [one for one in shared if one is not None]
    known = {one.stage for one in found}
    for arm in sweep.arms:
        mine = select(sweep.measures, arm=arm)
        stages = [stage for stage in dict.fromkeys(mine["stage"]) if stage not in known]
        own = (collect_measures(select(mine, stage=stage), arm) for stage in stages)
        found += [one for one in own if one is not None]
    return found


def estimate_exploration(sweep: Sweep, resamples: int = RESAMPLES) -> Exploration:
    """Estimates everything that the stages of a sweep that explore measured.

    Args:
        sweep: The sweep.
        resamples: Bootstrap resamples.
    """
    scores = explored(sweep)
    estimator = _Estimator(resamples)
    notes: list[str] = []
    for one in scores:
        estimator.add(one)
        base = _base_of(one, scores)
        if base is not None:
            estimator.compare(one, base, gain=True)
    for before, after in _pairs(scores):
        if why := _unlike(before, after):
            notes.append(f"{after.arm} and {before.arm} are not compared in {after.stage}: {why}")
        else:
            estimator.compare(after, before)
    return Exploration(tuple(estimator.estimates), tuple(estimator.crossings), tuple(notes))


def _base_of(one: Scores, scores: Sequence[Scores]) -> Scores | None:
    """The base model's scores that an arm's gains are taken over."""
    if one.stage == EXPLORE_BASE:
        return None
    bases = {base.arm: base for base in scores if base.stage == EXPLORE_BASE}
    return bases.get(one.arm) or bases.get(ALL_ARMS)


def _unlike(one: Scores, other: Scores) -> str:
    """Why two stages cannot be paired by seed and problem; empty if they can."""
    if one.seed_index != other.seed_index:
        return "different seeds"
    return "" if one.tasks == other.tasks else "different problems"


def _pairs(scores: Sequence[Scores]) -> Iterator[tuple[Scores, Scores]]:
    for stage in dict.fromkeys(one.stage for one in scores):
        yield from combinations([one for one in scores if one.stage == stage], 2)


class _Estimator:
    """Makes estimates, and keeps them."""

    def __init__(self, resamples: int) -> None:
        self._resampler = cache(lambda n, cell: Resampler(n, cell, resamples=resamples))
        self.estimates: list[Estimate] = []
        self.crossings: list[Crossing] = []

    def add(self, scores: Scores) -> None:
        """Estimates every measure of a stage."""
        for (cell, metric), values in scores.values.items():
            self._keep(scores, "", cell, metric, metric, values[0], _bounds(metric))

    def compare(self, scores: Scores, other: Scores, *, gain: bool = False) -> None:
        """Estimates the difference to another stage, where both were measured on the same problems.

        Args:
            scores: The one.
            other: What is subtracted.
            gain: Whether that is the base model, of the same arm.
        """
        curves: dict[tuple[str, str], dict[int, tuple[float, float, Interval]]] = {}
        for (cell, metric), values in scores.values.items():
            before = other.start_for(scores, cell, metric)
            if before is None:
                continue
            away = values[0] - before
            low, high = _bounds(metric)
            bounds = low - high, high - low
            versus, name = ("", f"{GAIN}{metric}") if gain else (other.arm, metric)
            interval = self._keep(scores, versus, cell, metric, name, away, bounds, difference=True)
            family, _, k = metric.rpartition("@")
            if f"{family}@" in (PASS, JOINT_PASS):
                means = (float(before.mean()), float(values[0].mean()))
                curves.setdefault((cell, f"{family}@"), {})[int(k)] = (*means, interval)
        for (cell, metric), curve in curves.items():
            self.crossings.append(_crossing(scores, other, cell, metric, curve))

    def _keep(
        self,
        scores: Scores,
        versus: str,
        cell: str,
        metric: str,
        name: str,
        values: Floats,
        bounds: tuple[float, float],
        *,
        difference: bool = False,
    ) -> Interval:
        """Estimates the mean of (S, P) values over the problems that have one for every seed."""
        values = values[:, ~np.isnan(values).any(axis=0)]
        n = values.shape[1]
        interval = Interval(np.nan, np.nan, np.nan)
        if n:
            interval = self._resampler(n, cell).means(values).interval(bounds=bounds, difference=difference)
        place = (scores.arm, versus, scores.stage, EVALUATION, cell, name)
        note = "" if n else _NOTHING
        self.estimates.append(
            Estimate(*place, interval.value, interval.low, interval.high, n, scores.seeds, 0.0, 0.0, note)
        )
        return interval


def _bounds(metric: str) -> tuple[float, float]:
    """What a measure cannot leave."""
    if metric in AMOUNTS:
        return 0.0, np.inf
    return (-1.0, 1.0) if metric in DIFFERENCES else (0.0, 1.0)


def _crossing(
    scores: Scores, other: Scores, cell: str, metric: str, curve: Mapping[int, tuple[float, float, Interval]]
) -> Crossing:
    def end(k: int) -> dict[str, float | None]:
        numbers = {name: float(value) for name, value in asdict(curve[k][2]).items()}
        return {"k": k, **{name: value if np.isfinite(value) else None for name, value in numbers.items()}}

    at = crossing({k: before for k, (before, _, _) in curve.items()}, {k: after for k, (_, after, _) in curve.items()})
    place = (scores.arm, scores.stage, other.arm, other.stage, cell, metric)
    return Crossing(*place, at, end(min(curve)), end(max(curve)))


def as_json(crossings: Iterable[Crossing]) -> list[dict[str, Any]]:
    """Crossings as plain data."""
    return [asdict(one) for one in crossings]
