"""Groups that teach nothing."""

from itertools import combinations

import pytest

from specs_lab.metrics.stuckness import all_correct, all_wrong


@pytest.mark.parametrize("correct", range(6))
@pytest.mark.parametrize("group", [1, 2, 5])
def test_against_every_group(correct: int, group: int) -> None:
    outcomes = [True] * correct + [False] * (5 - correct)
    groups = list(combinations(outcomes, group))
    assert all_correct(5, correct, group) == pytest.approx(sum(map(all, groups)) / len(groups))
    assert all_wrong(5, correct, group) == pytest.approx(sum(not any(one) for one in groups) / len(groups))


def test_a_group_of_all_responses_is_one_thing_or_neither() -> None:
    assert [(all_correct(4, c, 4), all_wrong(4, c, 4)) for c in (0, 2, 4)] == [(0, 1), (0, 0), (1, 0)]
