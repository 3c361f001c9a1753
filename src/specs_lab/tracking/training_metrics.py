"""What stages wrote while they trained: metrics step by step, and what each run's curve was like as a whole.

Training metrics are the rows of ``rows.csv`` without a cell, e.g. ``rollout/reward``, ``rollout/format`` or
``train/reward_margin``. Nothing is resampled here: a run gives one number, and intervals are Student's t over runs
(seeds). Seeds that share an artifact are one run, and count once. With one run there is no interval.

Four statistics say what a run's curve was like, of the steps at which the metric was defined:

- ``min``: its lowest value after the first 20 % of them, so that a metric which everyone starts low does not win;
- ``last``: its mean over the last 20 % of them;
- ``mean``: its mean over all of them;
- ``rough``: the standard deviation of the differences from each step to the next.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from specs_lab.metrics.statistics import LEVEL, Interval, student_quantile
from specs_lab.tracking.estimates import TRAINING, Estimate
from specs_lab.tracking.frames import select
from specs_lab.tracking.scores import ALL_ARMS

Floats = NDArray[np.float64]

TRAINING_COLUMNS = ("arm", "stage", "step", "metric", "value", "low", "high", "seeds")
STATISTICS = ("min", "last", "mean", "rough")
_KINDS = ("rl", "coldstart")
_SHARE = 0.2  # of a curve's steps: left out of its minimum, and what its end is
_FEWEST = 3  # steps: fewer have no two differences


def student_interval(values: Floats) -> Interval:
    """The mean of independent runs with its Student-t interval; no interval of one run, nothing of none.

    Args:
        values: One value a run, (S,).
    """
    mean = float(np.mean(values)) if values.size else math.nan
    if values.size < 2 or not math.isfinite(mean):
        return Interval(mean, math.nan, math.nan)
    reach = student_quantile(LEVEL, values.size - 1) * float(np.std(values, ddof=1)) / math.sqrt(values.size)
    return Interval(mean, mean - reach, mean + reach)


def curve_statistics(values: Floats) -> dict[str, float]:
    """Each of :data:`STATISTICS` of one run's curve; NaN where it has too few steps.

    Args:
        values: The metric at each step, in order; NaN where it was undefined.
    """
    values = values[np.isfinite(values)]
    if not values.size:
        return dict.fromkeys(STATISTICS, math.nan)
    end = math.ceil(_SHARE * values.size)
    return {
        "min": float(values[math.floor(_SHARE * values.size) :].min()),
        "last": float(values[-end:].mean()),
        "mean": float(values.mean()),
        "rough": float(np.diff(values).std(ddof=1)) if values.size >= _FEWEST else math.nan,
    }


def training_rows(rows: pd.DataFrame) -> pd.DataFrame:
    """The training metrics of a sweep, each run once.

    A stage whose runs are the same artifacts for every arm, such as the zero model's RL, belongs to
    :data:`~specs_lab.tracking.scores.ALL_ARMS`.

    Args:
        rows: As in :class:`specs_lab.tracking.frames.Sweep`.
    """
    rows = select(rows, cell="")
    shared = []
    for stage, part in rows.groupby("stage", sort=False):
        runs = {arm: frozenset(zip(own["seed"], own["key"], strict=True)) for arm, own in part.groupby("arm")}
        if len(runs) > 1 and len(set(runs.values())) == 1:
            shared.append(stage)
    return rows.assign(arm=rows["arm"].where(~rows["stage"].isin(shared), ALL_ARMS)).drop_duplicates(
        ["arm", "stage", "seed", "key", "step", "metric"]
    )


def training_table(rows: pd.DataFrame) -> pd.DataFrame:
    """Every training metric at every step, over the runs of each arm in which it was defined there.

    Args:
        rows: As in :class:`specs_lab.tracking.frames.Sweep`.

    Returns:
        Columns :data:`TRAINING_COLUMNS`; ``seeds`` is the number of these runs.
    """
    runs = training_rows(rows).drop_duplicates(["arm", "stage", "key", "step", "metric"])
    lines = []
    for (arm, stage, metric, step), part in runs.groupby(["arm", "stage", "metric", "step"], sort=False):
        values = part["value"].to_numpy(dtype=np.float64)
        values = values[np.isfinite(values)]
        interval = student_interval(values)
        lines.append((arm, stage, step, metric, interval.value, interval.low, interval.high, values.size))
    return pd.DataFrame(lines, columns=list(TRAINING_COLUMNS))


@dataclass(frozen=True)
class _Curves:
    """One metric of one arm's stage, by run.

    Attributes:
        arm: The arm.
        stage: The stage.
        metric: The metric.
        run_of: {seed: index of its run}.
        keys: The artifact of each run.
        values: {statistic: one value a run}.
        steps: How many steps the shortest run has.
        last: The last step of the longest.
        flops: What the stage had cost by then, mean over runs.
    """

    arm: str
    stage: str
    metric: str
    run_of: Mapping[int, int]
    keys: tuple[str, ...]
    values: Mapping[str, Floats]
    steps: int
    last: float
    flops: float

    def estimate(self, statistic: str, versus: _Curves | None = None) -> Estimate:
        """One statistic, or how much larger it is than that of ``versus``, paired by seed."""
        values = self.values[statistic]
        if versus is not None:
            values = values - versus.values[statistic]
        interval = student_interval(values)
        note = "" if math.isfinite(interval.value) else "too few steps in at least one run"
        other = "" if versus is None else versus.arm
        place = (self.arm, other, self.stage, TRAINING, "", f"{statistic} {self.metric}")
        numbers = (interval.value, interval.low, interval.high)
        return Estimate(*place, *numbers, self.steps, len(self.keys), self.last, self.flops, note)


def training_estimates(rows: pd.DataFrame) -> tuple[list[Estimate], list[str]]:
    """What the curves of RL stages and cold starts were like, and how arms differ in that.

    Args:
        rows: As in :class:`specs_lab.tracking.frames.Sweep`.

    Returns:
        The estimates, differences last, and notes on arms that are not compared.
    """
    curves = list(_curves(select(training_rows(rows), kind=list(_KINDS))))
    estimates = [one.estimate(statistic) for one in curves for statistic in STATISTICS]
    places: dict[tuple[str, str], list[_Curves]] = {}
    for one in curves:
        places.setdefault((one.stage, one.metric), []).append(one)
    apart: dict[tuple[str, str], dict[str, None]] = {}
    for group in places.values():
        for before, after in combinations(group, 2):
            if before.run_of != after.run_of:
                apart.setdefault((after.arm, before.arm), {})[after.stage] = None
            elif before.keys != after.keys:  # the same runs do not differ
                estimates += [after.estimate(statistic, before) for statistic in STATISTICS]
    notes = [
        f"{arm} and {versus} are not compared in the training of {', '.join(stages)}: different seeds"
        for (arm, versus), stages in apart.items()
    ]
    return estimates, notes


def _curves(rows: pd.DataFrame) -> Iterator[_Curves]:
    for (arm, stage, metric), part in rows.groupby(["arm", "stage", "metric"], sort=False):
        key_of = dict(sorted(set(zip(part["seed"].tolist(), part["key"].tolist(), strict=True))))
        keys = tuple(dict.fromkeys(key_of.values()))
        runs = [_in_order(part, key) for key in keys]
        statistics = [curve_statistics(run["value"].to_numpy(dtype=np.float64)) for run in runs]
        yield _Curves(
            arm=str(arm),
            stage=str(stage),
            metric=str(metric),
            run_of={seed: keys.index(key) for seed, key in key_of.items()},
            keys=keys,
            values=_by_name(statistics),
            steps=min(int(run["value"].notna().sum()) for run in runs),
            last=float(max(run["step"].iloc[-1] for run in runs)),
            flops=float(np.mean([run["flops"].iloc[-1] for run in runs])),
        )


def _in_order(part: pd.DataFrame, key: str) -> pd.DataFrame:
    return cast("pd.DataFrame", select(part, key=key).drop_duplicates("step").sort_values("step"))


def _by_name(statistics: Sequence[Mapping[str, float]]) -> dict[str, Floats]:
    return {name: np.array([one[name] for one in statistics]) for name in STATISTICS}
