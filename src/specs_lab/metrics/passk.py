"""How good k samples are together: pass@k, maj@k, and from which k on one model passes another.

pass@k is how often at least one of k samples is correct (arXiv 2107.03374, eq. 1; as used by arXiv 2504.13837); maj@k
is how often the answer that most of k samples give is (arXiv 2203.11171).
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from functools import cache
from itertools import combinations
from math import comb

import numpy as np
from numpy.typing import NDArray

from specs_lab.core.seeding import numpy_rng

LARGEST_K = 256
"""Of the curve of arXiv 2504.13837."""
SUBSETS = 200
"""Subsets of the samples that maj@k is averaged over."""


def pass_at_k(samples: int, correct: int, k: int) -> float:
    """The unbiased estimate of pass@k of one problem: ``1 - C(n - c, k) / C(n, k)``.

    Computed in whole numbers, so that it is exact to the last bit for any ``samples``.

    Args:
        samples: n, how many responses were sampled.
        correct: c, how many of them are correct.
        k: How many tries are granted, at most n.

    Raises:
        ValueError: If not ``0 <= correct <= samples`` and ``1 <= k <= samples``.
    """
    if not 0 <= correct <= samples:
        raise ValueError(f"{correct} of {samples} samples cannot be correct")
    if not 1 <= k <= samples:
        raise ValueError(f"pass@{k} cannot be estimated from {samples} samples")
    total = comb(samples, k)
    return (total - comb(samples - correct, k)) / total


def passes_at_k(samples: int, correct: Iterable[int], k: int) -> NDArray[np.float64]:
    """pass@k of several problems with equally many samples; its mean is the benchmark's figure.

    Args:
        samples: Responses sampled for each problem.
        correct: How many of them are correct, for each of P problems.
        k: How many tries are granted.

    Returns:
        Estimates, (P,).
    """
    return np.array([pass_at_k(samples, int(count), k) for count in correct], dtype=np.float64)


def powers_of_two(samples: int) -> list[int]:
    """The k that a curve of pass@k has: 1, 2, 4, ... up to the number of samples, and to 256."""
    return [1 << i for i in range(LARGEST_K.bit_length()) if 1 << i <= samples]


def maj_at_k(votes: Sequence[Hashable | None], correct: Sequence[bool], k: int, subsets: int = SUBSETS) -> float:
    """maj@k of one problem: how often the majority of k of its samples is correct.

    The mean over subsets of k samples drawn with equal probability, the same for every problem; where there are no more
    subsets than are to be drawn (k = 1 and k = n always), over all of them. The estimate is unbiased either way, and in
    the latter case there is no chance in it.

    Args:
        votes: What each of n samples answers; None for no answer, which has no vote.
        correct: Whether each of them is correct; equal votes are either all correct or none is.
        k: How many samples vote, at most n. Ties go to the answer that was given first.
        subsets: How many subsets to draw.

    Raises:
        ValueError: If not ``1 <= k <= n``, or not every sample has a mark.
    """
    if len(votes) != len(correct):
        raise ValueError(f"{len(votes)} votes cannot be right or wrong by {len(correct)} marks")
    if not 1 <= k <= len(votes):
        raise ValueError(f"maj@{k} cannot be estimated from {len(votes)} samples")
    names: dict[Hashable, int] = {}
    codes = np.array([-1 if vote is None else names.setdefault(vote, len(names)) for vote in votes])
    if not names:
        return 0.0
    places = _subsets(len(votes), k, subsets)
    right = np.asarray(correct, dtype=bool)
    drawn = codes[places]  # (subsets, k)
    rows = np.arange(len(places))
    counts = np.zeros((len(places), len(names)), dtype=np.int64)
    first = np.zeros_like(counts)
    for position in reversed(range(k)):  # the last write, hence the first occurrence, stays
        voting = drawn[:, position] >= 0
        counts[rows[voting], drawn[voting, position]] += 1
        first[rows[voting], drawn[voting, position]] = position
    winner = (counts * (k + 1) - first).argmax(axis=1)
    won = right[places[rows, first[rows, winner]]] & (counts[rows, winner] > 0)
    return float(won.mean())


@cache
def _subsets(samples: int, k: int, count: int) -> NDArray[np.int64]:
    """Places of the samples in each subset, in the order of the samples: (count or fewer, k)."""
    if comb(samples, k) <= max(count, samples):  # so that k = 1 is exact whatever the number of samples
        return np.array(list(combinations(range(samples), k)), dtype=np.int64)
    order = numpy_rng("maj", samples, k).random((count, samples)).argsort(axis=1)
    return np.sort(order[:, :k], axis=1)


def crossing(one: Mapping[int, float], other: Mapping[int, float]) -> int | None:
    """From which k on the difference of two curves has another sign than where it begins.

    Args:
        one: {k: value}.
        other: {k: value}; k that only one of them has are left out.

    Returns:
        The least such k; None if the curves do not cross, or cross back.
    """
    ks = sorted(one.keys() & other.keys())
    signs = {k: np.sign(np.round(other[k] - one[k], 12)) for k in ks}  # rounding is no difference
    begin = next((sign for sign in signs.values() if sign), None)
    if begin is None:
        return None
    found = None
    for k in reversed(ks):
        if signs[k] == -begin:
            found = k
        elif signs[k] == begin:
            break
    return found
