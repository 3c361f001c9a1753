"""An experiment says beforehand what it expects, and is told everything that is wrong with that at once."""

import json
import math

import pytest

from specs_lab.core.errors import UserError
from specs_lab.tracking.claims import ArmTest, RankTest, outcome, read_claim


def faults(experiment):
    with pytest.raises(UserError) as caught:
        read_claim(experiment.folder)
    return [str(fault) for fault in caught.value.faults]


@pytest.mark.parametrize(
    ("low", "high", "sign", "than", "says"),
    [
        (0.1, 0.3, "+", 0.0, "yes"),
        (0.1, 0.3, "-", 0.0, "no"),
        (-0.3, -0.1, "+", 0.0, "no"),
        (-0.3, -0.1, "-", 0.0, "yes"),
        (-0.1, 0.3, "+", 0.0, "unclear"),
        (0.0, 0.3, "+", 0.0, "unclear"),  # an interval that ends there holds it
        (0.1, 0.3, "+", 0.2, "unclear"),
        (0.1, 0.3, "+", 0.5, "no"),
        (math.nan, 0.3, "+", 0.0, "unclear"),
        (0.1, math.nan, "+", 0.0, "unclear"),
    ],
)
def test_the_rule(low, high, sign, than, says):
    assert outcome(0.2, low, high, sign, than) == says


def test_an_undefined_value_is_unclear():
    assert outcome(math.nan, 0.1, 0.3, "+") == "unclear"


def test_a_claim_is_read_as_it_is_written(experiment):
    x = {"stage": "cold", "at": "last step", "cell": "ood", "metric": "joint"}
    y = {"stage": "final", "at": "training", "metric": "min rollout/format"}
    rank = {"says": "It goes along", "kind": "rank correlation", "x": x, "y": y, "sign": "-", "runs": ["two"]}
    experiment.expect(
        experiment.test(step=25, than=0.1), rank, runs={"one": "a", "two": "b"}, design="a note of its own"
    )
    claim = read_claim(experiment.folder)
    first, second = claim.tests
    assert isinstance(first, ArmTest)
    assert (first.arm, first.versus, first.place.step, first.than, first.sign, first.runs) == (
        "a",
        "b",
        25,
        0.1,
        "+",
        (),
    )
    assert isinstance(second, RankTest)
    assert (second.y.cell, second.y.step, second.sign, second.runs) == ("", None, "-", ("two",))
    assert claim.runs == {"one": "a", "two": "b"}


def test_everything_that_is_wrong_is_said_at_once(experiment):
    broken = experiment.test(sgin="+", sign="up", step="25", runs=["two"], metric="")
    experiment.expect(broken, experiment.test(kind="anova"), claim="", paper=3, runs={"../one": "run it"})
    said = "\n".join(faults(experiment))
    for wrong in (
        "claim: is missing",
        "paper: 3 is no text",
        "'../one' is no name for a folder",
        "tests[0]: sgin: is no key of a test\n      fix: did you mean 'sign'?",
        "tests[0]: sign: 'up' is no side",
        "tests[0]: step: '25' is no number",
        "tests[0]: metric: is missing",
        "there is no run 'two'",
        "tests[1]: kind: 'anova' is no kind of test",
        "'A beats B' is said by two of them",
    ):
        assert wrong in said


@pytest.mark.parametrize(
    ("changes", "wrong"),
    [
        ({"tests": []}, "tests: there are none"),
        ({"tests": ["a"]}, "tests[0]: 'a' is no JSON object"),
        ({"runs": {}}, "runs: is missing"),
        ({"runs": {"one": 1}}, "runs: one: 1 is no command"),
        ({"expected": 1}, "expected: 1 is no text"),
    ],
)
def test_what_cannot_be_a_claim(experiment, changes, wrong):
    experiment.expect(experiment.test(), **changes)
    assert wrong in "\n".join(faults(experiment))


def test_a_correlation_names_both_of_its_sides(experiment):
    experiment.expect({"says": "It goes along", "kind": "rank correlation", "sign": "+", "arm": "a"})
    said = "\n".join(faults(experiment))
    assert all(f"tests[0]: {axis}: is missing" in said for axis in ("x", "y"))
    assert "tests[0]: arm: is no key of a test" in said


@pytest.mark.parametrize("text", ["", "{", json.dumps([1])])
def test_a_broken_file_is_a_user_error(experiment, text):
    experiment.folder.mkdir(parents=True)
    (experiment.folder / "expected.json").write_text(text)
    assert faults(experiment)


def test_a_missing_file_is_a_user_error(experiment):
    assert "is missing" in faults(experiment)[0]
