"""Intervals over problems, and over seeds and problems.

Every claim of the suite rests on a few seeds (runs) that are all measured on the same problems. Both vary: another
seed would have trained another model, another draw of problems would have measured it otherwise.

- Problems are many: a percentile bootstrap over them, with the seeds as they are, gives their share of an interval.
- Seeds are few. A bootstrap over S of them sees (S - 1) / S of their variance and takes it for known, so that with
  three seeds some 15 to 20 % of its 95 % intervals of the difference of two equal arms leave out 0. Seeds therefore get
  the half-width of a Student-t interval, ``t_{S-1} * SE``, where SE is the jackknife's over seeds (for a mean that is
  s / sqrt(S) exactly; the Generalization Factor is no mean).

On each side of the estimate ``half-width^2 = (t * SE)^2 + (half-width over problems)^2``. The chance in how one seed
fares on one problem counts in both terms, so that where seeds hardly differ the interval is wider than need be. With
one seed an interval covers the problems only. Reports therefore state S beside each interval.

Draws come from NumPy's Philox and depend on names, not on the order of calls: arms that are measured on the same
problems are resampled alike, so that differences of their draws are paired.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial

import numpy as np
from numpy.typing import NDArray

from specs_lab.core.seeding import numpy_rng
from specs_lab.metrics.generalization_factor import BETA, generalization_factor

Floats = NDArray[np.float64]

RESAMPLES = 2000
LEVEL = 0.95
UNBOUNDED = (-np.inf, np.inf)
INTERVAL = (
    f"{LEVEL:.0%}; over problems a percentile bootstrap of {RESAMPLES} resamples; with S >= 2 seeds, on each side of "
    "the estimate, half-width^2 = (t_{S-1} * jackknife standard error over seeds)^2 + (half-width over problems)^2; "
    "shares clipped to [0, 1], their differences and gains to [-1, 1]; with one seed over problems only"
)
"""How the intervals of a report are made, in one sentence."""


@dataclass(frozen=True)
class Interval:
    """An estimate with its interval.

    Attributes:
        value: The statistic of the data itself.
        low: Lower end; NaN where undefined.
        high: Upper end; NaN where undefined.
    """

    value: float
    low: float
    high: float


def percentile_interval(value: float, draws: Floats, level: float = LEVEL, *, difference: bool = False) -> Interval:
    """The percentile interval of bootstrap draws.

    Undefined draws (NaN, e.g. the Generalization Factor of a negative gain) count as lower than every number, so that
    dropping them cannot make an interval look better: an end that falls among them is NaN. In a difference they could
    be anything, and count as lower than every number for the lower end and as higher for the upper one.

    Args:
        value: The statistic of the data itself.
        draws: The statistic of each resample, (B,).
        level: Coverage that is aimed for.
        difference: Whether the statistic is a difference of such statistics.
    """
    tail = (1 - level) / 2
    places = ((tail, -np.inf), (1 - tail, np.inf if difference else -np.inf))
    undefined = np.isnan(draws)
    ends = [np.quantile(np.where(undefined, fill, draws), q, method="inverted_cdf") for q, fill in places]
    return Interval(float(value), *(float(end) if np.isfinite(end) else float("nan") for end in ends))


@cache
def student_quantile(level: float, freedom: int) -> float:
    """How many standard errors a Student-t interval reaches to each side.

    With ``t = sqrt(freedom) * tan(angle)`` the density of the angle is proportional to ``cos(angle)^(freedom - 1)``,
    whose integral is smooth enough to be summed (here to six digits) and inverted numerically.

    Args:
        level: Its coverage.
        freedom: Degrees of freedom, at least 1.
    """
    angles = np.linspace(0, np.pi / 2, 20_001)
    density = np.cos(angles) ** (freedom - 1)
    mass = np.concatenate([[0.0], np.cumsum(density[1:] + density[:-1])])
    return float(np.sqrt(freedom) * np.tan(np.interp(level, mass / mass[-1], angles)))


@dataclass(frozen=True)
class Replicates:
    """Statistics of S seeds x P problems, and what their intervals are made of.

    Attributes:
        values: The statistics of the data themselves, (...).
        draws: The same on resampled problems, (..., B).
        without: The same without each of the seeds, (..., S); (..., 0) if there is one seed only.
    """

    values: Floats
    draws: Floats
    without: Floats

    def __getitem__(self, index: int) -> Replicates:
        """Those of one statistic."""
        return Replicates(self.values[index], self.draws[index], self.without[index])

    def __sub__(self, other: Replicates) -> Replicates:
        """Those of differences, paired by problem and by seed; both must be of the same problems and seeds."""
        return combine(np.subtract, self, other)

    @property
    def seed_error(self) -> Floats:
        """The jackknife's standard error over seeds, (...); of a mean s / sqrt(S)."""
        seeds = self.without.shape[-1]
        away = self.without - self.without.mean(axis=-1, keepdims=True)
        return np.sqrt((seeds - 1) / seeds * np.square(away).sum(axis=-1))

    def interval(
        self, level: float = LEVEL, *, bounds: tuple[float, float] = UNBOUNDED, difference: bool = False
    ) -> Interval:
        """The interval of one statistic, see the module; undefined where the statistic or a jackknife value is.

        Args:
            level: Coverage that is aimed for.
            bounds: What the statistic cannot leave; the interval is clipped to it.
            difference: Whether it is a difference, see :func:`percentile_interval`.
        """
        value = float(self.values)
        problems = percentile_interval(value, self.draws, level, difference=difference)
        low, high = problems.low, problems.high
        if seeds := self.without.shape[-1]:
            reach = student_quantile(level, seeds - 1) * float(self.seed_error)
            low = value - float(np.hypot(reach, np.maximum(value - low, 0)))
            high = value + float(np.hypot(reach, np.maximum(high - value, 0)))
        return Interval(value, float(np.clip(low, *bounds)), float(np.clip(high, *bounds)))


def combine(function: Callable[..., Floats], *parts: Replicates) -> Replicates:
    """The replicates of a function of statistics, such as their difference.

    Args:
        function: Works element by element.
        parts: Its arguments, of the same seeds.
    """
    return Replicates(
        function(*(part.values for part in parts)),
        function(*(part.draws for part in parts)),
        function(*(part.without for part in parts)),
    )


def bootstrap_interval(
    values: Floats,
    statistic: Callable[..., Floats] = np.mean,
    *,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
    seed: object = 0,
) -> Interval:
    """The percentile bootstrap interval of a statistic of independent problems.

    Args:
        values: One value a problem, (P,).
        statistic: Takes an array and ``axis=-1``, as ``numpy.mean`` does.
        resamples: B, how often to resample.
        level: Coverage that is aimed for.
        seed: Names the random numbers.

    Raises:
        ValueError: If there are no values.
    """
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 1 or not values.size:
        raise ValueError(f"values must have shape (P,) with P > 0, not {values.shape}")
    picks = numpy_rng("bootstrap", seed).integers(values.size, size=(resamples, values.size))
    draws = np.asarray(statistic(values[picks], axis=-1), dtype=np.float64)
    return percentile_interval(float(statistic(values, axis=-1)), draws, level)


class Resampler:
    """Resamples problems; one set of draws serves any number of statistics.

    Args:
        problems: P, number of problems, the same for all seeds.
        name: Names the draws: resamplers of different names draw independently, of the same name alike.
        resamples: B, how often to resample.
        seed: Names the random numbers as a whole.

    Raises:
        ValueError: If there are no problems.
    """

    def __init__(self, problems: int, name: str = "", *, resamples: int = RESAMPLES, seed: object = 0) -> None:
        if problems < 1:
            raise ValueError(f"cannot resample {problems} problems")
        picks = numpy_rng("bootstrap", "problems", name, seed, problems).integers(problems, size=(resamples, problems))
        flat = (picks + problems * np.arange(resamples)[:, None]).ravel()
        counts = np.bincount(flat, minlength=resamples * problems).reshape(resamples, problems)
        self._weights = counts / problems  # how often each problem is drawn in each resample: rows sum to 1

    def means(self, values: Floats) -> Replicates:
        """The means over seeds and problems.

        Args:
            values: (..., S, P): every seed measured on the same problems, in the same order.

        Returns:
            Replicates of (...) means.
        """
        values = np.asarray(values, dtype=np.float64)
        seeds, by_seed = values.shape[-2], values.mean(axis=-1)
        without = (by_seed.sum(axis=-1, keepdims=True) - by_seed) / (seeds - 1) if seeds > 1 else by_seed[..., :0]
        return Replicates(values.mean(axis=(-2, -1)), values.mean(axis=-2) @ self._weights.T, without)


def hierarchical_interval(
    values: Floats, *, resamples: int = RESAMPLES, level: float = LEVEL, seed: object = 0
) -> Interval:
    """The interval of a mean over seeds and problems.

    Args:
        values: (S, P): every seed measured on the same problems, in the same order.
        resamples: B, how often to resample.
        level: Coverage that is aimed for.
        seed: Names the random numbers.
    """
    values = np.asarray(values, dtype=np.float64)
    return Resampler(values.shape[-1], resamples=resamples, seed=seed).means(values).interval(level)


def factor_interval(
    id: Floats,
    ood: Floats,
    beta: float = BETA,
    *,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
    seed: object = 0,
) -> Interval:
    """The interval of the Generalization Factor of mean performances, or of mean gains.

    A seed's model is one model in both cells; problems are resampled independently in the ID and in the OOD cell.

    Args:
        id: Values or gains on the ID cell, (S, P).
        ood: Values or gains on the OOD cell, (S, Q).
        beta: How much OOD matters.
        resamples: B, how often to resample.
        level: Coverage that is aimed for.
        seed: Names the random numbers.

    Raises:
        ValueError: If the numbers of seeds differ.
    """
    if len(id) != len(ood):
        raise ValueError(f"{len(id)} seeds are measured on ID, {len(ood)} on OOD")
    inside, outside = (
        Resampler(len(values[0]), name, resamples=resamples, seed=seed).means(values)
        for name, values in (("id", id), ("ood", ood))
    )
    return combine(partial(generalization_factor, beta=beta), inside, outside).interval(level)
