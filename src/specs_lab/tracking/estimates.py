"""From scores to estimates with intervals: cell means, gains over the base, and the Generalization Factor.

Arms are compared at equal steps and at equal compute. Equal compute is the smallest compute that any arm's cold start
ended with; scores in between two evaluations are interpolated linearly, problem by problem, before anything else is
computed. Only arms whose curve starts at step 0 take part: the others' cost on the way is not known. Differences
between arms are paired by problem and seed: only arms measured on the same problems, for the same seeds, have one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cache, partial
from itertools import combinations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from specs_lab.metrics.generalization_factor import generalization_factor, undefined_because
from specs_lab.metrics.statistics import Interval, Replicates, Resampler, combine
from specs_lab.tracking.scores import Scores

Floats = NDArray[np.float64]

CURVE, LAST, EQUAL_STEPS, EQUAL_COMPUTE = "curve", "last step", "equal steps", "equal compute"
EVALUATION, TRAINING = "evaluation", "training"
GF_METRICS = ("format", "joint")
_GAINED = ("format", "accuracy", "joint")
_COMPARED = (EQUAL_STEPS, EQUAL_COMPUTE, EVALUATION)
_SHARE, _DIFFERENCE, _DIFFERENCE_OF_GAPS = (0.0, 1.0), (-1.0, 1.0), (-2.0, 2.0)
_GAP = "gap_"


@dataclass(frozen=True)
class Estimate:
    """One line of a summary.

    Attributes:
        arm: The arm.
        versus: The arm that it is compared with; then ``value`` is the difference, paired by problem and seed. Else "".
        stage: The stage.
        at: Where on the stage's curve: ``curve`` (each evaluated step), ``last step``, ``equal steps``,
            ``equal compute``; ``evaluation`` for stages that evaluate only; ``training`` for what a stage's training
            curve was like, see :mod:`specs_lab.tracking.training_metrics`.
        cell: The cell; for the Generalization Factor and gaps ``ID cell + OOD cell``; "" for training.
        metric: ``format``, ``accuracy``, ``joint``, ``truncated``; ``gain_*`` (over the base model); ``gap_*`` (ID
            cell minus OOD cell); ``gf_<of>_raw`` and ``gf_<of>_gain``; of training ``<statistic> <metric>``; of stages
            that explore those of :mod:`specs_lab.metrics.exploration`.
        value: The mean over problems and seeds, or the factor of such means; a share. NaN where undefined. Of training
            the mean over seeds, in the metric's own unit.
        low: Lower end of the 95 % interval over problems and seeds, see :mod:`specs_lab.metrics.statistics`; of
            training over seeds alone, NaN with one.
        high: Upper end.
        n: Problems; the smaller number for the Generalization Factor; of training the steps that were recorded.
        seeds: Independently trained models.
        step: The step; NaN for interpolated points; of training the last.
        flops: What the stage had cost by then, mean over seeds.
        note: Why the value is undefined.
    """

    arm: str
    versus: str
    stage: str
    at: str
    cell: str
    metric: str
    value: float
    low: float
    high: float
    n: int
    seeds: int
    step: float
    flops: float
    note: str = ""


ESTIMATE_COLUMNS = tuple(Estimate.__dataclass_fields__)


@dataclass(frozen=True)
class Point:
    """A place on a curve: a weighted mean of its K steps, with weights for each of S seeds.

    Attributes:
        at: Its name, see :class:`Estimate`.
        step: The step; NaN between two.
        weights: (K, S), each column sums to 1.
    """

    at: str
    step: float
    weights: Floats


def step_point(at: str, scores: Scores, step: int) -> Point:
    """The point at an evaluated step."""
    weights = np.repeat((scores.steps == step)[:, None], scores.seeds, axis=1).astype(np.float64)
    return Point(at, float(step), weights)


def compute_point(scores: Scores, flops: float) -> Point | None:
    """The point at which every seed has cost ``flops``; None if a seed's curve does not reach from below to above."""
    if scores.steps[0] != 0 or not ((scores.flops[0] <= flops) & (flops <= scores.flops[-1])).all():
        return None
    weights = np.zeros(scores.flops.shape)
    for seed, costs in enumerate(scores.flops.T):
        after = min(max(int(np.searchsorted(costs, flops)), 1), len(costs) - 1)
        share = (flops - costs[after - 1]) / (costs[after] - costs[after - 1])
        weights[after - 1, seed] += 1 - share
        weights[after, seed] += share
    return Point(EQUAL_COMPUTE, float("nan"), weights)


@dataclass(frozen=True)
class Curves:
    """The cold starts of a sweep, and where they are compared.

    Attributes:
        scores: One for each arm that has a cold start.
        steps: The steps at which they are compared.
        flops: The compute at which they are compared; None if there is none.
        notes: What could not be compared, and why.
    """

    scores: tuple[Scores, ...]
    steps: tuple[int, ...]
    flops: float | None
    notes: tuple[str, ...]

    def points(self, scores: Scores) -> list[Point]:
        """The points of one arm's curve to estimate."""
        points = [step_point(CURVE, scores, step) for step in scores.steps]
        points.append(step_point(LAST, scores, scores.steps[-1]))
        points += [step_point(EQUAL_STEPS, scores, step) for step in self.steps]
        at_compute = None if self.flops is None else compute_point(scores, self.flops)
        return points if at_compute is None else [*points, at_compute]


def line_up(scores: Sequence[Scores], steps: Sequence[int] = ()) -> Curves:
    """Decides where cold starts are compared.

    Args:
        scores: The cold starts.
        steps: Steps to compare at; by default the last one that all arms evaluated.
    """
    if not scores:
        return Curves((), (), None, ())
    common = sorted(set.intersection(*({int(step) for step in one.steps} for one in scores)))
    notes = [f"step {step} is not compared: not every arm evaluated it" for step in sorted(set(steps) - set(common))]
    chosen = tuple(step for step in common if step in steps) if steps else tuple(common[-1:])
    if not common:
        notes.append("no step was evaluated by every arm: nothing is compared at equal steps")
    flops = min((float(one.flops[-1].min()) for one in scores if _incomplete(one) is None), default=None)
    for one in scores:
        why = _incomplete(one)
        if why is None and flops is not None and compute_point(one, flops) is None:
            why = "what it costs before its first step is already more than the common compute"
        if why:
            notes.append(f"{one.arm} is not compared at equal compute: {why}")
    return Curves(tuple(scores), chosen, flops, tuple(notes))


def _incomplete(scores: Scores) -> str | None:
    """Why a curve cannot be read at a compute in between; None if it can."""
    if scores.steps[0] != 0:
        return "its curve does not reach back to step 0"
    if len(scores.steps) == 1:
        return "its curve is step 0 alone"
    return "what it cost was not recorded" if np.isnan(scores.flops).any() else None


@dataclass(frozen=True)
class _Measured:
    """What an estimate was made from: its replicates, and whose scores in which cells."""

    replicates: Replicates
    scores: Scores
    cells: tuple[str, ...]

    def unlike(self, other: _Measured) -> str | None:
        """Why the two cannot be paired by seed and problem; None if they can."""
        if self.scores.seed_index != other.scores.seed_index:
            return "different seeds"
        cells = [cell for cell in self.cells if self.scores.tasks[cell] != other.scores.tasks[cell]]
        return f"different problems ({', '.join(cells)})" if cells else None


class Estimator:
    """Makes estimates with intervals, and compares arms.

    Args:
        resamples: How often to resample.
    """

    def __init__(self, resamples: int) -> None:
        self._resampler = cache(lambda n, cell: Resampler(n, cell, resamples=resamples))
        self._measured: dict[Estimate, _Measured] = {}

    def table(self, more: Iterable[Estimate] = ()) -> pd.DataFrame:
        """All estimates, the differences between arms, and after them those that were made elsewhere."""
        estimates = [*self._measured, *self._differences(), *more]
        return pd.DataFrame([asdict(one) for one in estimates], columns=list(ESTIMATE_COLUMNS))

    def notes(self) -> list[str]:
        """Which arms are not compared, and why."""
        stages: dict[tuple[str, str, str], dict[str, None]] = {}
        for first, second in self._pairs():
            if why := self._measured[first].unlike(self._measured[second]):
                stages.setdefault((second.arm, first.arm, why), {})[first.stage] = None
        return [
            f"{arm} and {versus} are not compared in {', '.join(names)}: {why}"
            for (arm, versus, why), names in stages.items()
        ]

    def add(self, scores: Scores, base: Scores | None, points: Sequence[Point]) -> None:
        """Estimates everything about one stage at some points of its curve.

        Args:
            scores: What it scored.
            base: What the base model scored, for gains; None for no gains.
            points: Where.
        """
        weights = np.stack([point.weights for point in points])
        means: dict[tuple[str, str], Replicates] = {}

        def keep(cell: str, metric: str, values: Floats) -> None:  # (N, S, P)
            means[cell, metric] = self._resampler(values.shape[-1], cell).means(values)
            self._keep(scores, points, (cell,), metric, means[cell, metric])

        for (cell, metric), values in scores.values.items():
            at_points = np.einsum("nks,ksp->nsp", weights, values)
            keep(cell, metric, at_points)
            start = None if base is None or metric not in _GAINED else base.start_for(scores, cell, metric)
            if start is not None:
                keep(cell, f"gain_{metric}", at_points - start)
        for metric in GF_METRICS:
            self._gap(scores, points, metric, means)
            self._factor(scores, points, metric, f"gf_{metric}_raw", means)
            self._factor(scores, points, f"gain_{metric}", f"gf_{metric}_gain", means)

    def _gap(
        self, scores: Scores, points: Sequence[Point], metric: str, means: dict[tuple[str, str], Replicates]
    ) -> None:
        """How much better the ID cell is than the OOD cell: a proxy of a policy that is stuck in distribution."""
        cells = scores.reading.id, scores.reading.ood
        inside, outside = (means.get((cell, metric)) for cell in cells)
        if inside is not None and outside is not None:
            self._keep(scores, points, cells, f"{_GAP}{metric}", inside - outside)

    def _factor(
        self, scores: Scores, points: Sequence[Point], of: str, metric: str, means: dict[tuple[str, str], Replicates]
    ) -> None:
        cells = scores.reading.id, scores.reading.ood
        inside, outside = (means.get((cell, of)) for cell in cells)
        if inside is None or outside is None:
            return
        factors = combine(partial(generalization_factor, beta=scores.reading.beta), inside, outside)
        notes = [
            undefined_because(float(id), float(ood)) or ""
            for id, ood in zip(inside.values, outside.values, strict=True)
        ]
        self._keep(scores, points, cells, metric, factors, notes)

    def _keep(
        self,
        scores: Scores,
        points: Sequence[Point],
        cells: tuple[str, ...],
        metric: str,
        found: Replicates,
        notes: Sequence[str] = (),
    ) -> None:
        """Keeps the estimates of one metric at N points; ``found`` has one statistic a point."""
        bounds = _DIFFERENCE if metric.startswith(("gain_", _GAP)) else _SHARE
        n = min(len(scores.tasks[cell]) for cell in cells)
        for i, point in enumerate(points):
            interval = found[i].interval(bounds=bounds)
            flops = float((point.weights * scores.flops).sum(axis=0).mean())
            place = (scores.arm, "", scores.stage, point.at, " + ".join(cells), metric)
            estimate = Estimate(
                *place, *_numbers(interval), n, scores.seeds, point.step, flops, notes[i] if notes else ""
            )
            self._measured[estimate] = _Measured(found[i], scores, cells)

    def _pairs(self) -> Iterator[tuple[Estimate, Estimate]]:
        """Every estimate at a place where arms are compared, with each one before it at the same place."""
        places: dict[tuple[object, ...], list[Estimate]] = {}
        for one in self._measured:
            if one.at in _COMPARED:
                step = one.step if one.at == EQUAL_STEPS else None
                places.setdefault((one.stage, one.at, one.cell, one.metric, step), []).append(one)
        for group in places.values():
            yield from combinations(group, 2)

    def _differences(self) -> Iterable[Estimate]:
        """Every arm minus every arm before it, where they are measured on the same problems and for the same seeds."""
        for first, second in self._pairs():
            before, after = self._measured[first], self._measured[second]
            if before.unlike(after) is None:
                bounds = _DIFFERENCE_OF_GAPS if second.metric.startswith(_GAP) else _DIFFERENCE
                interval = (after.replicates - before.replicates).interval(bounds=bounds, difference=True)
                place = (second.arm, first.arm, second.stage, second.at, second.cell, second.metric)
                note = "" if np.isfinite(interval.value) else "undefined for one of the arms"
                yield Estimate(*place, *_numbers(interval), second.n, second.seeds, second.step, second.flops, note)


def _numbers(interval: Interval) -> tuple[float, float, float]:
    return interval.value, interval.low, interval.high
