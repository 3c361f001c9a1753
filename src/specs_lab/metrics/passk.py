"""pass@k: how often at least one of k samples is correct (arXiv 2107.03374, eq. 1; as used by arXiv 2504.13837)."""

from __future__ import annotations

from collections.abc import Iterable
from math import comb

import numpy as np
from numpy.typing import NDArray


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
