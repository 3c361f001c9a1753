"""Tests of a claim are looked up in the results of its runs."""

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from specs_lab.core.errors import UserError
from specs_lab.tracking.claims import read_claim
from specs_lab.tracking.findings import find, rank_interval, spearman

ABOVE = {"value": 0.2, "low": 0.1, "high": 0.3}


def found(experiment):
    return find(read_claim(experiment.folder))


def faults(experiment):
    with pytest.raises(UserError) as caught:
        found(experiment)
    return [str(fault) for fault in caught.value.faults]


def pair(arm="a", versus="b", **changes):
    return {"arm": arm, "versus": versus, **ABOVE, **changes}


def arms(*names):
    return [{"arm": name} for name in names]


def test_a_difference_is_found_with_its_interval(experiment):
    experiment.expect(experiment.test(step=25))
    experiment.results("one", *arms("a", "b"), pair(), pair(step=50, value=0.9))
    (one,) = found(experiment)
    assert (one.value, one.low, one.high, one.n, one.seeds, one.outcome) == (0.2, 0.1, 0.3, 90, 3, "yes")
    assert one.reason == ""


def test_a_difference_may_be_asked_for_the_other_way_round(experiment):
    experiment.expect(experiment.test(arm="b", versus="a"))
    experiment.results("one", *arms("a", "b"), pair())
    (one,) = found(experiment)
    assert (one.value, one.low, one.high, one.outcome) == (-0.2, -0.3, -0.1, "no")


def test_an_estimate_is_tested_against_a_number(experiment):
    experiment.expect(
        experiment.test(versus="", than=0.45, says="above"), experiment.test(versus="", than=0.3, says="far")
    )
    experiment.results("one", *arms("a", "b"))
    assert [one.outcome for one in found(experiment)] == ["unclear", "yes"]


def test_arms_may_be_called_differently_from_run_to_run(experiment):
    experiment.expect(experiment.test(arm="a *", versus="b *"), runs={"one": "run it", "two": "run it"})
    experiment.results("one", *arms("a lr=1", "b lr=1"), pair("a lr=1", "b lr=1"))
    experiment.results("two", *arms("a lr=2", "b lr=2"), pair("a lr=2", "b lr=2", low=-0.1))
    assert [(one.run, one.test["arm"], one.outcome) for one in found(experiment)] == [
        ("one", "a lr=1", "yes"),
        ("two", "a lr=2", "unclear"),
    ]


def test_arms_that_look_like_numbers_or_patterns_keep_their_names(experiment):
    experiment.expect(experiment.test(arm="1", versus="m=[id]"))
    experiment.results("one", *arms("1", "m=[id]"), pair("1", "m=[id]"))
    assert found(experiment)[0].outcome == "yes"


def test_a_test_counts_on_the_runs_that_it_names(experiment):
    experiment.expect(experiment.test(runs=["two"]), runs={"one": "run it", "two": "run it"})
    for run in ("one", "two"):
        experiment.results(run, *arms("a", "b"), pair())
    assert [one.run for one in found(experiment)] == ["two"]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"value": "", "low": "", "high": "", "note": "ood is negative"}, "ood is negative"),
        ({"low": "", "high": "", "seeds": 1}, "one seed has no interval"),
        ({"low": ""}, "its interval has an undefined end"),
    ],
)
def test_what_is_undefined_is_unclear_and_says_why(experiment, row, reason):
    experiment.expect(experiment.test())
    experiment.results("one", *arms("a", "b"), pair(**row))
    (one,) = found(experiment)
    assert (one.outcome, one.reason) == ("unclear", reason)


@pytest.mark.parametrize(
    ("changes", "wrong"),
    [
        ({"arm": "aa"}, "no arm is called 'aa'\n      fix: did you mean 'a'? known: a, b, c"),
        ({"arm": "[ab]"}, "several arms are called '[ab]'\n      fix: name one of a, b"),
        ({"versus": "c"}, "a is not compared with c\n      fix: it is with: b"),
        ({"stage": "cool"}, "a minus b: there is no estimate with stage 'cool'\n      fix: did you mean 'cold'?"),
        ({"at": "equal step"}, "there is no estimate with at 'equal step'\n      fix: did you mean 'equal steps'?"),
        ({"cell": ""}, "there is no estimate with cell ''\n      fix: known: ood"),
        ({"metric": "jont"}, "there is no estimate with metric 'jont'\n      fix: did you mean 'joint'? known: joint"),
        ({"step": 30}, "there is no estimate at step 30\n      fix: name one of the steps 25, 50"),
        ({}, "there are estimates at several steps\n      fix: name one of the steps 25, 50"),
    ],
)
def test_what_there_is_not_is_said_with_what_there_is(experiment, changes, wrong):
    experiment.expect(experiment.test(**changes))
    experiment.results("one", *arms("a", "b", "c"), pair(), pair(step=50))
    (said,) = faults(experiment)
    assert said.startswith("tests[0] (A beats B) on one")
    assert wrong in said


def test_all_that_is_missing_is_said_at_once(experiment):
    experiment.expect(experiment.test(arm="aa", versus="bb"), experiment.test(says="twice", metric="jont"))
    experiment.results("one", *arms("a", "b"), pair())
    assert len(faults(experiment)) == 3


def test_a_run_without_results_says_how_to_get_them(experiment):
    experiment.expect(experiment.test(), runs={"one": "specs-lab -m this", "two": "specs-lab -m that"})
    said = faults(experiment)
    assert len(said) == 2
    assert "run `specs-lab -m that`, then `specs-lab report <sweep> --out" in said[1]


def test_a_summary_without_a_column_is_a_user_error(experiment):
    experiment.expect(experiment.test())
    experiment.results("one", *arms("a", "b"), pair())
    path = experiment.folder / "results" / "one" / "summary.csv"
    pd.read_csv(path).drop(columns=["low", "seeds"]).to_csv(path, index=False)
    assert "has no column low, seeds" in faults(experiment)[0]


def correlated(experiment, heights, **changes):
    """A run in which the i-th arm has i as its x and heights[i] as its y; all arms' own stage is in it, too."""
    place = {"stage": "cold", "at": "equal steps", "cell": "ood"}
    axes = {"x": {**place, "metric": "joint"}, "y": {**place, "metric": "format"}}
    experiment.expect({"says": "It goes along", "kind": "rank correlation", "sign": "+", **axes, **changes})
    rows = [{"arm": f"arm {i}", "value": i / 10} for i in range(len(heights))]
    rows += [{"arm": f"arm {i}", "metric": "format", "value": value, "seeds": 2} for i, value in enumerate(heights)]
    experiment.results("one", *rows, {"arm": "all arms", "value": 0.9}, {"arm": "arm 1", "versus": "arm 0", "value": 9})
    return found(experiment)


def test_arms_that_go_along_are_correlated(experiment):
    (one,) = correlated(experiment, [0.1, 0.2, 0.3, 0.5, 0.4, 0.6, 0.7])
    assert one.value == pytest.approx(stats.spearmanr(range(7), [1, 2, 3, 5, 4, 6, 7]).statistic)
    assert (one.n, one.seeds, one.outcome) == (7, 2, "yes")
    assert [point["arm"] for point in one.points] == [f"arm {i}" for i in range(7)]
    assert one.points[3]["y_value"] == 0.5
    assert one.points[3]["x_low"] == 0.4


def test_arms_that_go_against_it_contradict(experiment):
    assert correlated(experiment, [0.6, 0.5, 0.4, 0.3, 0.2, 0.1])[0].outcome == "no"


def test_few_arms_are_too_few(experiment):
    (one,) = correlated(experiment, [0.1, 0.2, 0.3, ""])
    assert one.outcome == "unclear"
    assert one.reason == "3 arms have both; 5 are needed"
    assert math.isnan(one.value)


def test_a_side_that_never_changes_cannot_be_correlated(experiment):
    (one,) = correlated(experiment, [0.5] * 6)
    assert (one.outcome, one.reason) == ("unclear", "one of the two is the same for all arms")


def test_a_correlation_says_which_side_is_not_there(experiment):
    with pytest.raises(UserError, match="y: there is no estimate with metric 'fromat'"):
        correlated(experiment, [0.1], y={"stage": "cold", "at": "equal steps", "cell": "ood", "metric": "fromat"})


def test_spearman_is_scipys_with_ties_too():
    rng = np.random.default_rng(3)
    x, y = rng.integers(0, 6, size=(2, 20, 9)).astype(float)
    expected = [stats.spearmanr(a, b).statistic for a, b in zip(x, y, strict=True)]
    np.testing.assert_allclose(spearman(x, y), expected)


def test_a_correlations_interval_is_the_same_every_time_and_holds_it():
    x, y = np.random.default_rng(1).random((2, 12))
    first = rank_interval(x, y)
    assert first == rank_interval(x, y)
    assert -1 <= first.low < first.value < first.high <= 1


def test_arms_that_are_one_and_the_same_study_count_once(experiment):
    heights = [0.1, 0.2, 0.3, 0.5, 0.4, 0.6, 0.7]
    (one,) = correlated(experiment, heights)
    twin = [{"arm": "twin", "value": 0.3}, {"arm": "twin", "metric": "format", "value": 0.5, "seeds": 2}]
    (experiment.folder / "results" / "one" / "summary.csv").unlink()
    (experiment.folder / "results" / "one").rmdir()
    rows = [{"arm": f"arm {i}", "value": i / 10} for i in range(len(heights))]
    rows += [{"arm": f"arm {i}", "metric": "format", "value": value, "seeds": 2} for i, value in enumerate(heights)]
    experiment.results("one", *rows, *twin)
    (again,) = found(experiment)
    assert (again.n, again.value, again.low, again.high) == (one.n, one.value, one.low, one.high)


def test_a_claim_may_rest_on_the_results_of_another_experiment(experiment):
    test = {"says": "A is high", "arm": "a", "stage": "cold", "at": "equal steps", "metric": "joint", "sign": "+"}
    test |= {"cell": "ood", "step": 25}
    experiment.expect(test)
    experiment.results("one", {"arm": "a", "value": 0.2, "low": 0.1, "high": 0.3})
    other = type(experiment)(experiment.folder.parent / "other")
    other.expect(test, results_of=experiment.folder.name)
    (one,) = found(other)
    assert (one.value, one.outcome) == (0.2, "yes")
    other.expect(test, results_of="../elsewhere")
    assert "there is no experiment '../elsewhere'" in faults(other)[0]
