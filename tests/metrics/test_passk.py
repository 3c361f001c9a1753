"""pass@k and maj@k against the definition."""

from collections import Counter
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from specs_lab.metrics.passk import crossing, maj_at_k, pass_at_k, passes_at_k, powers_of_two


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


# --- maj@k ---


def naive_majority(votes, correct) -> bool:
    """Most common vote; `Counter` counts in the order of first occurrence, so the first of equals wins."""
    counts = Counter(vote for vote in votes if vote is not None)
    if not counts:
        return False
    return correct[votes.index(counts.most_common(1)[0][0])]


@given(st.lists(st.sampled_from(["7", "8", "9", None]), min_size=1, max_size=7), st.data())
def test_majorities_against_every_subset(votes, data):
    correct = [vote == "7" for vote in votes]
    k = data.draw(st.integers(1, len(votes)))
    subsets = list(combinations(range(len(votes)), k))
    expected = [naive_majority([votes[i] for i in places], [correct[i] for i in places]) for places in subsets]
    assert maj_at_k(votes, correct, k) == pytest.approx(sum(expected) / len(expected))


def test_a_majority_by_hand():
    votes, correct = ["7", "8", "8", "7", "7", None], [True, False, False, True, True, False]
    assert maj_at_k(votes, correct, 6) == 1.0
    assert maj_at_k(votes, correct, 1) == 0.5 == pass_at_k(6, 3, 1)


@pytest.mark.parametrize(("votes", "expected"), [(["8", "7"], 0.0), (["7", "8"], 1.0), ([None, "7"], 1.0)])
def test_ties_go_to_the_first_answer(votes, expected):
    assert maj_at_k(votes, [vote == "7" for vote in votes], 2) == expected


def test_no_answer_has_no_vote():
    assert maj_at_k([None, None, "7"], [False, False, True], 3) == 1.0
    assert maj_at_k([None, None], [False, False], 2) == 0.0


def test_drawn_subsets_estimate_what_all_of_them_would_give():
    votes = ["7"] * 9 + ["8"] * 7 + ["9"] * 4
    correct = [vote == "7" for vote in votes]
    exact = maj_at_k(votes, correct, 5, subsets=20_000)  # of 15504 all
    assert maj_at_k(votes, correct, 5, subsets=4000) == pytest.approx(exact, abs=0.03)
    assert maj_at_k(votes, correct, 5) == maj_at_k(votes, correct, 5)


def test_majorities_of_nothing_are_refused():
    for k in (0, 3):
        with pytest.raises(ValueError, match="cannot be estimated"):
            maj_at_k(["7", "8"], [True, False], k)
    with pytest.raises(ValueError, match="3 votes"):
        maj_at_k(["7", "8", "8"], [True, False], 1)


# --- curves ---


@pytest.mark.parametrize(
    ("samples", "ks"), [(1, [1]), (5, [1, 2, 4]), (8, [1, 2, 4, 8]), (1000, [1, 2, 4, 8, 16, 32, 64, 128, 256])]
)
def test_a_curve_has_the_powers_of_two(samples, ks):
    assert powers_of_two(samples) == ks


@pytest.mark.parametrize(
    ("base", "other", "expected"),
    [
        ([0.2, 0.4, 0.6, 0.8], [0.3, 0.45, 0.55, 0.7], 4),  # RL is ahead at first, the base model from k = 4 on
        ([0.2, 0.4, 0.6, 0.8], [0.2, 0.45, 0.55, 0.7], 4),  # begins with a tie
        ([0.2, 0.4, 0.6, 0.8], [0.3, 0.5, 0.7, 0.9], None),
        ([0.2, 0.4, 0.6, 0.8], [0.3, 0.3, 0.7, 0.9], None),  # crosses and crosses back
        ([0.2, 0.4, 0.6, 0.8], [0.3, 0.4, 0.6, 0.8], None),  # only meets
        ([0.2, 0.4, 0.6, 0.8], [0.3, 0.3, 0.6, 0.7], 2),
        ([0.2, 0.4], [0.2, 0.4], None),
        ([0.3, 0.4], [0.2, 0.4 + 1e-15], None),  # rounding
    ],
)
def test_crossings_by_hand(base, other, expected):
    ks = [1, 2, 4, 8]
    assert crossing(dict(zip(ks, base, strict=False)), dict(zip(ks, other, strict=False))) == expected


def test_only_common_k_are_compared():
    assert crossing({1: 0.5, 2: 0.5, 4: 0.9}, {1: 0.4, 4: 1.0, 8: 0.0}) == 4
    assert crossing({1: 0.5}, {2: 0.5}) is None


def test_majority_of_one_is_exact_for_any_number_of_samples():
    votes = [str(i % 2) for i in range(256)]
    assert maj_at_k(votes, [vote == "0" for vote in votes], 1) == 0.5
