"""SPECS' reward: 0.5 for the form and 1.0 for the answer, independently of each other."""

import pytest

from specs_lab.core.options import InvalidOption
from specs_lab.rewards.specs import Score, WeightedReward, score

GOOD = "<think> 3+4=7 </think> <answer> 7 </answer>"


@pytest.mark.parametrize(
    ("response", "expected"),
    [
        (GOOD, Score(True, True, 1.5, "7")),
        (GOOD.replace(" 7 ", " 8 "), Score(True, False, 0.5, "8")),
        ("3+4=7. The answer is 7.", Score(False, True, 1.0, "7")),
        ("3+4=8. The answer is 8.", Score(False, False, 0.0, "8")),
        ("7", Score(False, True, 1.0, "7")),
        ("", Score(False, False, 0.0, None)),
        ("<think> 3+4=7. So the answer is 7. Let me che", Score(False, True, 1.0, "7")),  # truncated
        ("<think> 3+4=7 </think> <answer> 7", Score(False, False, 0.0, None)),  # truncated inside the answer
    ],
)
def test_worked_by_hand(response: str, expected: Score):
    assert score(response, "7", "integer", "think_answer", WeightedReward()) == expected


def test_weights_are_those_of_the_options():
    options = WeightedReward(format_weight=0.25, accuracy_weight=2.0)
    assert score(GOOD, "7", "integer", "think_answer", options).reward == 2.25
    assert score(GOOD, "7", "integer", "steps_final", options).reward == 2.0


def test_all_faults_of_the_options_are_reported_together():
    with pytest.raises(InvalidOption) as error:
        WeightedReward(format_weight=-1, accuracy_weight=-1)
    assert {fault.where for fault in error.value.faults} == {"format_weight", "accuracy_weight"}
    with pytest.raises(InvalidOption, match="both weights are zero"):
        WeightedReward(format_weight=0, accuracy_weight=0)
