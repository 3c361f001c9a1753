"""The measures of one problem, by hand."""

import math

import pytest

from specs_lab.metrics.exploration import AMOUNTS, DIFFERENCES, Answered, measures

TEXTS = ["wait, 7", "7", "again, again 8", "nothing"]
ANSWERED = Answered(
    texts=TEXTS,
    lengths=[3, 2, 5, 2],
    votes=["7", "7", "8", None],
    correct=[True, True, False, False],
    format=[False, True, True, False],
    nucleus=[1.0, 2.0, 6.0],
    entropy=[0.0, 0.5, 1.0],
)


def test_every_measure_by_hand():
    assert measures(ANSWERED, [1, 2, 4], 2) == pytest.approx(
        {
            "pass@1": 0.5,
            "pass@2": 5 / 6,
            "pass@4": 1.0,
            "joint pass@1": 0.25,
            "joint pass@2": 0.5,
            "joint pass@4": 1.0,
            "maj@1": 0.5,
            "maj@2": 5 / 6,  # 7 is there in five of six pairs, and first in each
            "maj@4": 1.0,
            "rbf": 3.0,
            "entropy": 0.5,
            "length": 3.0,
            "distinct answers": 2.0,
            "all correct": 1 / 6,
            "all wrong": 1 / 6,
            "reflections": 0.75,
            "reflections correct": 0.5,
            "reflections wrong": 1.0,
            "accuracy with reflection": 0.5,
            "accuracy without reflection": 0.5,
            "aha accuracy gap": 0.0,
        }
    )


def test_what_a_problem_has_no_value_of_is_missing():
    nothing = Answered(texts=["no", "none"], lengths=[1, 1], votes=[None, None], correct=[False] * 2, format=[True] * 2)
    found = measures(nothing, [1], 8)
    assert {name for name, value in found.items() if math.isnan(value)} == {
        "reflections correct",
        "accuracy with reflection",
        "aha accuracy gap",
    }
    assert "rbf" not in found  # nobody looked
    assert (found["all wrong"], found["all correct"]) == (1.0, 0.0)  # a group of all there are


def test_what_may_exceed_one_is_known():
    found = measures(ANSWERED, [1], 2)
    assert found.keys() >= AMOUNTS
    assert all(0 <= value <= 1 for name, value in found.items() if name not in AMOUNTS | DIFFERENCES)


def test_the_gap_is_accuracy_with_a_reflection_minus_without():
    texts = ["wait 8", "wait 7", "hmm 8", "7"]
    correct = [False, True, False, True]
    found = measures(
        Answered(texts=texts, lengths=[2] * 4, votes=["8", "7", "8", "7"], correct=correct, format=[True] * 4), [1], 2
    )
    assert found["aha accuracy gap"] == pytest.approx(1 / 3 - 1)
    assert found["reflections correct"] == 0.5
