"""What a benchmark's results come to: every metric with its interval over rows, or over groups of rows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from specs_lab.core.seeding import numpy_rng
from specs_lab.evaluation.benchmarks.base import Benchmark, Item, Scored
from specs_lab.metrics.statistics import LEVEL, RESAMPLES, Floats, Interval, percentile_interval
from specs_lab.rewards.grader import Verdict

_MOST_SCORED = 2_000_000
_LEAST = 200
_AT_ONCE = 64
ACCURACY = "accuracy"


def estimates(benchmark: Benchmark, scored: Scored, *, resamples: int = RESAMPLES) -> dict[str, dict[str, Any]]:
    """Every metric: ``value``, ``n``, and the ends ``low`` and ``high`` of its 95 % interval.

    Percentile bootstrap. What is a ratio of sums over units (:meth:`Benchmark.parts`) resamples the units; everything
    else resamples rows, at least 200 times, and less often than ``resamples`` where there are very many rows.

    Args:
        benchmark: Says what is measured.
        scored: Items and verdicts.
        resamples: How often to resample.
    """
    if not scored:
        return {}
    parts = benchmark.parts(scored)
    counted = {name: (float(value[0]), int(value[1])) for name, value in _summary(benchmark, scored).items()}
    found = {name: _of_ratio(np.asarray(units, dtype=np.float64), name, resamples) for name, units in parts.items()}
    fewer = max(_LEAST, min(resamples, _MOST_SCORED // len(scored)))
    rest = [name for name in counted if name not in parts and not name.startswith("groups/")]
    found |= _of_rows(benchmark, scored, rest, fewer)
    return {
        name: {"value": _plain(value), "n": n, **_ends(found.get(name))} for name, (value, n) in sorted(counted.items())
    }


def _summary(benchmark: Benchmark, scored: Scored) -> dict[str, tuple[float, int]]:
    """The accuracy, and every metric of the benchmark with the number of rows or groups behind it."""
    right = [verdict.correct for _, verdict in scored]
    found: dict[str, tuple[float, int]] = {ACCURACY: (sum(right) / len(right), len(right))}
    for name, value in benchmark.summary(scored).items():
        found[name] = value if isinstance(value, tuple) else (float(value), len(scored))
    return found


def _of_ratio(units: Floats, name: str, resamples: int) -> Interval:
    tops, unders = units[:, 0], units[:, 1]
    rng = numpy_rng("bootstrap", "benchmark", name, len(units))
    draws = []
    for start in range(0, resamples, _AT_ONCE):
        picks = rng.integers(len(units), size=(min(_AT_ONCE, resamples - start), len(units)))
        draws.append(_ratio(tops[picks].sum(axis=-1), unders[picks].sum(axis=-1)))
    return percentile_interval(float(_ratio(tops.sum(), unders.sum())), np.concatenate(draws))


def _ratio(top: Any, under: Any) -> Floats:
    top, under = np.asarray(top, dtype=np.float64), np.asarray(under, dtype=np.float64)
    return np.divide(top, under, out=np.full(np.shape(top), np.nan), where=under > 0)


def _of_rows(benchmark: Benchmark, scored: Scored, names: Sequence[str], resamples: int) -> dict[str, Interval]:
    """Intervals of metrics by resampling rows; rows that a metric is not about make it vary in size."""
    rng = numpy_rng("bootstrap", "benchmark", "rows", len(scored))
    rows: list[tuple[Item, Verdict]] = list(scored)
    whole = _summary(benchmark, scored)
    draws = {name: np.full(resamples, np.nan) for name in names}
    for index in range(resamples):
        drawn = _summary(benchmark, [rows[pick] for pick in rng.integers(len(rows), size=len(rows))])
        for name in names:
            if name in drawn:
                draws[name][index] = drawn[name][0]
    # a resample without any row of a rare category says nothing of it
    return {
        name: percentile_interval(whole[name][0], kept)
        for name, values in draws.items()
        if len(kept := values[~np.isnan(values)])
    }


def _ends(interval: Interval | None) -> dict[str, float | None]:
    ends = (math.nan, math.nan) if interval is None else (interval.low, interval.high)
    return {"low": _plain(ends[0]), "high": _plain(ends[1])}


def _plain(value: float) -> float | None:
    """A number as JSON can have it; None where it is undefined."""
    return None if math.isnan(value) else float(value)


HOW = f"{LEVEL:.0%} percentile bootstrap over rows, or over groups of rows where a metric is one of groups"
