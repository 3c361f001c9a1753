"""Advantages against loops over floats and worked values."""

import math
import statistics

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from specs_lab.objectives.advantages import ADVANTAGE_SCALES, group_advantages, zero_variance

scales = pytest.mark.parametrize("scale", ADVANTAGE_SCALES)
GROUPS = st.lists(st.lists(st.sampled_from([0.0, 0.5, 1.0, 1.5]), min_size=4, max_size=4), min_size=1, max_size=5)


def naive(groups: list[list[float]], scale: str) -> list[list[float]]:
    """Group by group, response by response."""
    centred = [[reward - statistics.fmean(group) for reward in group] for group in groups]
    everything = statistics.stdev([value for group in centred for value in group])
    divisors = {
        "group": [statistics.stdev(group) + 1e-4 for group in groups],
        "batch": [everything + 1e-4] * len(groups),
        "none": [1.0] * len(groups),
    }[scale]
    return [[value / divisor for value in group] for group, divisor in zip(centred, divisors, strict=True)]


@scales
@given(groups=GROUPS)
def test_against_naive_twin(scale: str, groups: list[list[float]]):
    found = group_advantages(torch.tensor(groups, dtype=torch.float64), scale)
    for row, wanted in zip(found.tolist(), naive(groups, scale), strict=True):
        assert row == pytest.approx(wanted, rel=1e-9, abs=1e-9)


def test_advantages_by_hand():
    """(0, 1): mean 0.5, deviation sqrt(0.5). (1, 2, 3, 6): mean 3, deviation sqrt((4 + 1 + 0 + 9) / 3)."""
    pair = torch.tensor([[0.0, 1.0]], dtype=torch.float64)
    assert group_advantages(pair, "none").tolist() == [[-0.5, 0.5]]
    assert group_advantages(pair)[0, 1].item() == pytest.approx(0.5 / (math.sqrt(0.5) + 1e-4))
    four = torch.tensor([[1.0, 2.0, 3.0, 6.0]], dtype=torch.float64)
    deviation = math.sqrt(14 / 3) + 1e-4
    assert group_advantages(four)[0].tolist() == pytest.approx([x / deviation for x in (-2, -1, 0, 3)])


def test_the_batchs_deviation_by_hand():
    """(0, 1), (0, 3) and (2, 2), centred: +-0.5, +-1.5 and 0, 0, whose deviation is sqrt((0.5 + 4.5) / 5) = 1."""
    rewards = torch.tensor([[0.0, 1.0], [0.0, 3.0], [2.0, 2.0]], dtype=torch.float64)
    expected = [-0.5 / 1.0001, 0.5 / 1.0001, -1.5 / 1.0001, 1.5 / 1.0001, 0.0, 0.0]
    assert group_advantages(rewards, "batch").flatten().tolist() == pytest.approx(expected)


def test_the_batchs_deviation_is_of_centred_rewards():
    """Prompts may differ in difficulty by any amount: that is no spread of the responses to one prompt."""
    rewards = torch.tensor([[0.0, 1.0], [0.0, 1.0]], dtype=torch.float64)
    easier = rewards + torch.tensor([[0.0], [100.0]])
    assert torch.allclose(group_advantages(rewards, "batch"), group_advantages(easier, "batch"), rtol=1e-12)


@scales
@pytest.mark.parametrize("reward", [0.0, 0.1, 1 / 3, 1.5, 1e6])
@pytest.mark.parametrize("size", [2, 3, 7, 8])
def test_a_group_without_variance_has_exactly_zero_advantage(scale: str, reward: float, size: int):
    """Exactly: the mean of equal floats need not equal them, and 1e-8 / 1e-4 would be a gradient."""
    rewards = torch.full((3, size), reward)
    rewards[1, 0] += 1
    advantages = group_advantages(rewards, scale)
    assert not advantages[[0, 2]].any()
    assert advantages[1].all()
    assert zero_variance(rewards).tolist() == [True, False, True]


@scales
@pytest.mark.parametrize("reward", [0.0, 0.1, 1 / 3, 1e6])
def test_a_batch_without_variance_is_exactly_zero_and_finite(scale: str, reward: float):
    assert torch.equal(group_advantages(torch.full((3, 7), reward), scale), torch.zeros(3, 7))


@given(GROUPS)
def test_groups_do_not_see_each_other(groups: list[list[float]]):
    rewards = torch.tensor(groups, dtype=torch.float64)
    for row, group in zip(group_advantages(rewards), rewards, strict=True):
        assert torch.allclose(row, group_advantages(group[None])[0], rtol=1e-12, atol=1e-12)


@scales
@given(groups=GROUPS)
def test_groups_sum_to_zero_and_keep_the_order_of_rewards(scale: str, groups: list[list[float]]):
    rewards = torch.tensor(groups, dtype=torch.float64)
    for row, group in zip(group_advantages(rewards, scale), rewards, strict=True):
        assert row.sum().item() == pytest.approx(0, abs=1e-9)
        assert ((row[:, None] > row) == (group[:, None] > group)).all()


def test_an_unknown_scale_is_named_with_those_that_exist():
    with pytest.raises(ValueError, match="no scale 'mean'; choose one of: group, none, batch"):
        group_advantages(torch.zeros(1, 2), "mean")
