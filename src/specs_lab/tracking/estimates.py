"""From scores to estimates with intervals: cell means, gains over the base, and the Generalization Factor.

Arms are compared at equal steps and at equal compute. Equal compute is the smallest compute that any arm's cold start
ended with; scores in between two evaluations are interpolated linearly, problem by problem, before anything else is
computed. Only arms whose curve starts at step 0 take part: the others' cost on the way is not known.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from itertools import combinations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from specs_lab.metrics.generalization_factor import generalization_factor, undefined_because
from specs_lab.metrics.statistics import Resampler, percentile_interval
from specs_lab.tracking.scores import Scores

Floats = NDArray[np.float64]

CURVE, LAST, EQUAL_STEPS, EQUAL_COMPUTE = "curve", "last step", "equal steps", "equal compute"
EVALUATION = "evaluation"
GF_METRICS = ("format", "joint")
_COMPARED = (EQUAL_STEPS, EQUAL_COMPUTE, EVALUATION)


@dataclass(frozen=True)
class Estimate:
    """One line of a summary.

    Attributes:
        arm: The arm.
        versus: The arm that it is compared with; then ``value`` is the difference, paired by problem and seed. Else "".
        stage: The stage.
        at: Where on the stage's curve: ``curve`` (each evaluated step), ``last step``, ``equal steps``,
            ``equal compute``; ``evaluation`` for stages that evaluate only.
        cell: The cell; for the Generalization Factor ``ID cell + OOD cell``.
        metric: ``format``, ``accuracy``, ``joint``, ``truncated``; ``gain_*`` (over the base model);
            ``gf_<of>_raw`` and ``gf_<of>_gain``.
        value: The mean over problems and seeds, or the factor of such means; a share. NaN where undefined.
        low: Lower end of the 95 % interval over problems and seeds.
        high: Upper end.
        n: Problems; the smaller number for the Generalization Factor.
        seeds: Independently trained models.
        step: The step; NaN for interpolated points.
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
    notes = [f"step {step} is not compared: not every arm evaluated it" for step in steps if step not in common]
    chosen = tuple(step for step in steps if step in common) if steps else tuple(common[-1:])
    if not common:
        notes.append("no step was evaluated by every arm: nothing is compared at equal steps")
    complete = [one for one in scores if one.steps[0] == 0 and len(one.steps) > 1]
    flops = min((float(one.flops[-1].min()) for one in complete), default=None)
    for one in scores:
        if flops is None or one not in complete or compute_point(one, flops) is None:
            notes.append(f"{one.arm} is not compared at equal compute: its curve does not reach back to step 0")
    return Curves(tuple(scores), chosen, flops, tuple(notes))


class Estimator:
    """Makes estimates with bootstrap intervals, and compares arms.

    Args:
        resamples: How often to resample.
    """

    def __init__(self, resamples: int) -> None:
        self._resampler = cache(lambda seeds, n, cell: Resampler(seeds, n, cell, resamples=resamples))
        self._draws: dict[Estimate, Floats] = {}

    def table(self) -> pd.DataFrame:
        """All estimates, and the differences between arms."""
        estimates = [*self._draws, *self._differences()]
        return pd.DataFrame([asdict(one) for one in estimates], columns=list(ESTIMATE_COLUMNS))

    def add(self, scores: Scores, base: Scores | None, points: Sequence[Point]) -> None:
        """Estimates everything about one stage at some points of its curve.

        Args:
            scores: What it scored.
            base: What the base model scored, for gains; None for no gains.
            points: Where.
        """
        weights = np.stack([point.weights for point in points])
        measured = {}
        for (cell, metric), values in scores.values.items():
            at_points = np.einsum("nks,ksp->nsp", weights, values)
            measured[cell, metric] = self._cell(scores, points, cell, metric, at_points)
            start = None if base is None or metric not in GF_METRICS else base.start_for(scores, cell, metric)
            if start is not None:
                measured[cell, f"gain_{metric}"] = self._cell(scores, points, cell, f"gain_{metric}", at_points - start)
        for metric in GF_METRICS:
            self._factor(scores, points, metric, f"gf_{metric}_raw", measured)
            self._factor(scores, points, f"gain_{metric}", f"gf_{metric}_gain", measured)

    def _cell(
        self, scores: Scores, points: Sequence[Point], cell: str, metric: str, values: Floats
    ) -> tuple[Floats, Floats]:
        """Estimates means of values (N, S, P); returns them, (N,), and their draws, (N, B)."""
        n = values.shape[-1]
        means, draws = values.mean(axis=(1, 2)), self._resampler(scores.seeds, n, cell).means(values)
        for point, mean, drawn in zip(points, means, draws, strict=True):
            self._keep(scores, point, cell, metric, mean, drawn, n)
        return means, draws

    def _factor(
        self,
        scores: Scores,
        points: Sequence[Point],
        of: str,
        metric: str,
        measured: dict[tuple[str, str], tuple[Floats, Floats]],
    ) -> None:
        reading = scores.reading
        inside, outside = measured.get((reading.id, of)), measured.get((reading.ood, of))
        if inside is None or outside is None:
            return
        cells = f"{reading.id} + {reading.ood}"
        n = min(len(scores.tasks[reading.id]), len(scores.tasks[reading.ood]))
        factors = generalization_factor(inside[0], outside[0], reading.beta)
        draws = generalization_factor(inside[1], outside[1], reading.beta)
        for i, point in enumerate(points):
            note = undefined_because(float(inside[0][i]), float(outside[0][i])) or ""
            self._keep(scores, point, cells, metric, factors[i], draws[i], n, note)

    def _keep(
        self, scores: Scores, point: Point, cell: str, metric: str, value: float, draws: Floats, n: int, note: str = ""
    ) -> None:
        interval = percentile_interval(value, draws)
        flops = float((point.weights * scores.flops).sum(axis=0).mean())
        place = (scores.arm, "", scores.stage, point.at, cell, metric)
        estimate = Estimate(
            *place, interval.value, interval.low, interval.high, n, scores.seeds, point.step, flops, note
        )
        self._draws[estimate] = draws

    def _differences(self) -> Iterable[Estimate]:
        """Every arm minus every arm before it, where they are comparable."""
        places: dict[tuple[object, ...], list[Estimate]] = {}
        for one in self._draws:
            if one.at in _COMPARED:
                step = one.step if one.at == EQUAL_STEPS else None
                places.setdefault((one.stage, one.at, one.cell, one.metric, step), []).append(one)
        for group in places.values():
            for first, second in combinations(group, 2):
                draws = self._draws[second] - self._draws[first]
                interval = percentile_interval(second.value - first.value, draws)
                place = (second.arm, first.arm, second.stage, second.at, second.cell, second.metric)
                n, seeds = min(first.n, second.n), min(first.seeds, second.seeds)
                note = "" if np.isfinite(interval.value) else "undefined for one of the arms"
                yield Estimate(
                    *place, interval.value, interval.low, interval.high, n, seeds, second.step, second.flops, note
                )
