"""What a benchmark's results come to: every metric with its interval over rows, or over groups of them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from specs_lab.core.seeding import numpy_rng
from specs_lab.evaluation.benchmarks.base import Benchmark, Scored, accuracy_parts
from specs_lab.metrics.statistics import LEVEL, RESAMPLES, Floats, Interval, percentile_interval

_AT_ONCE = 64
ACCURACY = "accuracy"


def estimates(benchmark: Benchmark, scored: Scored, *, resamples: int = RESAMPLES) -> dict[str, dict[str, Any]]:
    """Every metric: ``value``, ``n``, and the ends ``low`` and ``high`` of its 95 % interval.

    Percentile bootstrap over the units of a metric, see :meth:`Benchmark.parts`; counts have no interval.

    Args:
        benchmark: Says what is measured.
        scored: Items and verdicts.
        resamples: How often to resample.
    """
    if not scored:
        return {}
    parts = {**accuracy_parts(scored, lambda _: [ACCURACY], benchmark.unit), **benchmark.parts(scored)}
    found = {name: _of_ratio(np.asarray(units, dtype=np.float64), name, resamples) for name, units in parts.items()}
    return {
        name: {"value": _plain(value), "n": n, **_ends(found.get(name))}
        for name, (value, n) in sorted(_summary(benchmark, scored).items())
    }


def _summary(benchmark: Benchmark, scored: Scored) -> dict[str, tuple[float, int]]:
    """The accuracy, and every metric of the benchmark with the number of rows or groups behind it."""
    right = [verdict.correct for _, verdict in scored]
    found: dict[str, tuple[float, int]] = {ACCURACY: (sum(right) / len(right), len(right))}
    for name, value in benchmark.summary(scored).items():
        found[name] = value if isinstance(value, tuple) else (float(value), len(scored))
    return found


def _of_ratio(units: Floats, name: str, resamples: int) -> Interval:
    """The interval of a share; where all or none of it is there, and resampling sees no chance, the exact one."""
    tops, unders = units[:, 0], units[:, 1]
    value, counted = float(_ratio(tops.sum(), unders.sum())), np.count_nonzero(unders)
    if value in (0, 1):
        beyond = ((1 - LEVEL) / 2) ** (1 / counted)  # Clopper-Pearson of all of so many units
        return Interval(value, beyond, 1.0) if value else Interval(value, 0.0, 1 - beyond)
    if counted < 2:  # a single unit tells nothing of others
        return Interval(value, math.nan, math.nan)
    rng = numpy_rng("bootstrap", "benchmark", name, len(units))
    draws = []
    for start in range(0, resamples, _AT_ONCE):
        picks = rng.integers(len(units), size=(min(_AT_ONCE, resamples - start), len(units)))
        draws.append(_ratio(tops[picks].sum(axis=-1), unders[picks].sum(axis=-1)))
    return percentile_interval(value, np.concatenate(draws))


def _ratio(top: Any, under: Any) -> Floats:
    top, under = np.asarray(top, dtype=np.float64), np.asarray(under, dtype=np.float64)
    return np.divide(top, under, out=np.full(np.shape(top), np.nan), where=under > 0)


def _ends(interval: Interval | None) -> dict[str, float | None]:
    ends = (math.nan, math.nan) if interval is None else (interval.low, interval.high)
    return {"low": _plain(ends[0]), "high": _plain(ends[1])}


def _plain(value: float) -> float | None:
    """A number as JSON can have it; None where it is undefined."""
    return None if math.isnan(value) else float(value)


HOW = f"{LEVEL:.0%} percentile bootstrap over rows, or over groups of them that are alike; exact for 0 and 1"
