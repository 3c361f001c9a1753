"""pass@k against the definition."""

from itertools import combinations

import numpy as np
import pytest

from specs_lab.metrics.passk import pass_at_k, passes_at_k


def test_by_hand():
    assert pass_at_k(4, 2, 2) == 1 - 1 / 6  # of the 6 pairs out of 4 samples, one holds no correct sample
    assert pass_at_k(10, 3, 1) == pytest.approx(0.3)


@pytest.mark.parametrize("samples", [1, 4, 7])
def test_against_every_subset(samples):
    for correct in range(samples + 1):
        outcomes = [True] * correct + [False] * (samples - correct)
        for k in range(1, samples + 1):
            subsets = list(combinations(outcomes, k))
            assert pass_at_k(samples, correct, k) == pytest.approx(sum(map(any, subsets)) / len(subsets), abs=1e-15)


def test_is_unbiased():
    rng = np.random.default_rng(0)
    correct = rng.binomial(16, 0.1, size=20_000)
    assert passes_at_k(16, correct, 4).mean() == pytest.approx(1 - 0.9**4, abs=0.01)


def test_large_counts_neither_overflow_nor_round():
    assert pass_at_k(10_000, 1, 5_000) == 0.5


@pytest.mark.parametrize(("samples", "correct", "k"), [(4, 5, 1), (4, -1, 1), (4, 2, 5), (4, 2, 0)])
def test_impossible_counts_are_refused(samples, correct, k):
    with pytest.raises(ValueError, match="cannot be"):
        pass_at_k(samples, correct, k)
