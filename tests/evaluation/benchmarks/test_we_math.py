"""The four levels of We-Math, worked by hand."""

import math
from types import SimpleNamespace

import numpy as np
import pytest

from specs_lab.evaluation.benchmarks.intervals import estimates
from specs_lab.evaluation.benchmarks.we_math import WeMath, complete_groups, level_of, options_in
from specs_lab.problems.rows import BrokenRow
from specs_lab.rewards.grader import Verdict

# Groups of two and three steps: whether each step is right, and whether the whole is.
GROUPS = {
    "2steps/a": ([True, True], True),  # CM in both settings
    "2steps/b": ([True, False], True),  # RM strict, CM loose
    "2steps/c": ([False, False], True),  # RM in both
    "2steps/d": ([True, True], False),  # IG
    "2steps/e": ([True, False], False),  # IK
    "3steps/a": ([True, True, True], False),  # IG
    "3steps/b": ([True, False, True], True),  # RM strict, CM loose
    "3steps/c": ([False, False, False], False),  # IK
}


def scored_of(groups):
    def one(group, step, right):
        item = SimpleNamespace(extra={"group": group, "step": step}, row=SimpleNamespace(about={}))
        return item, Verdict(right, "choice", "B", "", float(right))

    return [
        one(name, step, right)
        for name, (steps, whole) in groups.items()
        for step, right in [*((str(i + 1), right) for i, right in enumerate(steps)), ("multi", whole)]
    ]


def test_levels_worked_by_hand():
    summary = WeMath().summary(scored_of(GROUPS))
    assert summary["strict/insufficient_knowledge"] == (2 / 8, 8)
    assert summary["strict/inadequate_generalization"] == (2 / 8, 8)
    assert summary["strict/complete_mastery"] == (1 / 8, 8)
    assert summary["strict/rote_memorization"] == (3 / 4, 4)  # of CM + RM
    assert summary["strict/average"] == ((0.5 * 2 + 1) / 8, 8)
    assert summary["loose/complete_mastery"] == (3 / 8, 8)
    assert summary["loose/rote_memorization"] == (1 / 4, 4)
    assert summary["loose/average"] == ((0.5 * 2 + 3) / 8, 8)
    assert summary["loose/insufficient_knowledge"] == summary["strict/insufficient_knowledge"]
    assert summary["loose/inadequate_generalization"] == summary["strict/inadequate_generalization"]


def test_accuracy_by_number_of_steps():
    summary = WeMath().summary(scored_of(GROUPS))
    assert summary["steps/1"] == (11 / 19, 19)
    assert summary["steps/2"] == (3 / 5, 5)
    assert summary["steps/3"] == (1 / 3, 3)


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("steps", [(a, b, c) for a in (0, 1) for b in (0, 1) for c in (0, 1)])
def test_every_group_has_exactly_one_level(steps, whole, strict):
    level = level_of([bool(step) for step in steps], whole, strict=strict)
    assert sum((level.insufficient, level.inadequate, level.mastered, level.rote)) == 1


def test_incomplete_groups_are_counted_and_left_out():
    scored = [one for one in scored_of(GROUPS) if one[0].extra != {"group": "2steps/a", "step": "2"}]
    assert set(complete_groups(scored)) == set(GROUPS) - {"2steps/a"}
    summary = WeMath().summary(scored)
    assert (summary["groups/complete"], summary["groups/incomplete"]) == (7.0, 1.0)
    assert summary["strict/complete_mastery"] == (0.0, 7)


def test_groups_of_two_and_of_three_steps_may_share_an_id():
    assert len(complete_groups(scored_of({"2steps/7": GROUPS["2steps/a"], "3steps/7": GROUPS["3steps/a"]}))) == 2


def test_no_group_at_all_has_no_four_levels():
    summary = WeMath().summary(scored_of({"2steps/a": ([True, True], True)})[:2])
    assert not [name for name in summary if name.startswith(("strict", "loose"))]
    never = WeMath().summary(scored_of({"2steps/e": GROUPS["2steps/e"]}))
    assert math.isnan(never["strict/rote_memorization"][0])  # nothing is mastered, by heart or otherwise


def test_intervals_of_levels_are_over_groups():
    many = {f"2steps/{i}": ([True, i % 2 == 0], i % 4 != 0) for i in range(64)}
    found = estimates(WeMath(), scored_of(many), resamples=500)
    average = found["strict/average"]
    assert average["n"] == 64
    assert average["low"] < average["value"] < average["high"]
    spread = np.std([0.5 * (i % 4 == 0) + (i % 2 == 0 and i % 4 != 0) for i in range(64)]) / 8
    assert average["high"] - average["low"] == pytest.approx(2 * 1.96 * spread, rel=0.25)


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("A. 1; B. 2; C. 3", ("1", "2", "3")),
        ("A. one; two; B. 2", ("one; two", "2")),
        ("A.1 cm;B.2 cm;C.No correct answer", ("1 cm", "2 cm", "No correct answer")),
        ("A. x\nB. y", ("x", "y")),
        ("A. (3; C. 4); B. 5", ("(3; C. 4)", "5")),
    ],
)
def test_options_in_one_text_are_told_apart(text, options):
    assert options_in(text) == options


def test_a_text_without_options_is_broken():
    with pytest.raises(BrokenRow):
        options_in("B. only this")
