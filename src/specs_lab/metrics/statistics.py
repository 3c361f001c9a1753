"""Percentile bootstrap intervals, over problems and over seeds and problems.

Every claim of the suite rests on a few seeds (runs) that are all measured on the same problems. Both vary: another
seed would have trained another model, another draw of problems would have measured it otherwise. Runs and problems are
crossed, not nested, so both are resampled and a resample's value is the mean over the cross product (the *pigeonhole
bootstrap*, doi 10.1214/07-AOAS122, which arXiv 1106.2125 shows to be mildly conservative).

With S seeds the bootstrap sees (S - 1) / S of their variance, so that intervals over two or three seeds are somewhat
too narrow, and with one seed they cover the problems only. Reports therefore state S beside each interval.

Draws come from NumPy's Philox and depend on names, not on the order of calls: arms that are measured on the same
problems with equally many seeds are resampled alike, so that differences of their draws are paired.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from specs_lab.core.seeding import numpy_rng
from specs_lab.metrics.generalization_factor import BETA, generalization_factor

Floats = NDArray[np.float64]

RESAMPLES = 2000
LEVEL = 0.95


@dataclass(frozen=True)
class Interval:
    """An estimate with its percentile interval.

    Attributes:
        value: The statistic of the data itself.
        low: Lower end; NaN where undefined.
        high: Upper end; NaN where undefined.
    """

    value: float
    low: float
    high: float


def percentile_interval(value: float, draws: Floats, level: float = LEVEL) -> Interval:
    """The percentile interval of bootstrap draws.

    Undefined draws (NaN, e.g. the Generalization Factor of a negative gain) count as lower than every number, so that
    dropping them cannot make an interval look better: an end that falls among them is NaN.

    Args:
        value: The statistic of the data itself.
        draws: The statistic of each resample, (B,).
        level: Coverage that is aimed for.
    """
    tail = (1 - level) / 2
    low, high = np.quantile(np.where(np.isnan(draws), -np.inf, draws), [tail, 1 - tail], method="inverted_cdf")
    return Interval(float(value), *(float(end) if np.isfinite(end) else float("nan") for end in (low, high)))


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
    """Resamples a crossed design of seeds and problems; one set of draws serves any number of statistics.

    Args:
        seeds: S, number of seeds.
        problems: P, number of problems, the same for all seeds.
        name: Names the draws of problems. Resamplers of different names draw problems independently, but seeds
            jointly: the model of a seed is one model, on whichever problems it is measured.
        resamples: B, how often to resample.
        seed: Names the random numbers as a whole.

    Raises:
        ValueError: If there are no seeds or no problems.
    """

    def __init__(
        self, seeds: int, problems: int, name: str = "", *, resamples: int = RESAMPLES, seed: object = 0
    ) -> None:
        if seeds < 1 or problems < 1:
            raise ValueError(f"cannot resample {seeds} seeds x {problems} problems")
        self._seed_weights = _weights(resamples, seeds, "seeds", seed)
        self._problem_weights = _weights(resamples, problems, "problems", name, seed)

    def means(self, values: Floats) -> Floats:
        """The mean over seeds and problems, of every resample.

        Args:
            values: (..., S, P).

        Returns:
            Draws, (..., B).
        """
        by_seed = np.asarray(values, dtype=np.float64) @ self._problem_weights.T
        return np.einsum("...sb,bs->...b", by_seed, self._seed_weights)


def _weights(resamples: int, count: int, *names: object) -> Floats:
    """How often each of ``count`` items is drawn in each resample, as a share: (B, count), rows sum to 1."""
    picks = numpy_rng("bootstrap", *names, count).integers(count, size=(resamples, count))
    flat = (picks + count * np.arange(resamples)[:, None]).ravel()
    return np.bincount(flat, minlength=resamples * count).reshape(resamples, count) / count


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
    seeds, problems = values.shape
    draws = Resampler(seeds, problems, resamples=resamples, seed=seed).means(values)
    return percentile_interval(float(values.mean()), draws, level)


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

    Seeds are resampled jointly; problems are resampled independently in the ID and in the OOD cell.

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
        Resampler(len(values), len(values[0]), name, resamples=resamples, seed=seed).means(values)
        for name, values in (("id", id), ("ood", ood))
    )
    value = generalization_factor(float(np.mean(id)), float(np.mean(ood)), beta)
    return percentile_interval(value, generalization_factor(inside, outside, beta), level)
