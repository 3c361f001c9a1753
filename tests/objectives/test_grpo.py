"""Group relative policy optimisation against loops over floats and worked values."""

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from specs_lab.objectives.grpo import (
    LOSS_NORMS,
    RolloutLogprobs,
    group_advantages,
    grpo_loss,
    kl_k3,
    zero_variance,
)

norms = pytest.mark.parametrize("norm", LOSS_NORMS)
LOW, HIGH = 0.2, 0.28


def rollout_of(batch, **changes: torch.Tensor) -> RolloutLogprobs:
    return replace(RolloutLogprobs(batch.policy, batch.old, batch.mask, batch.reference), **changes)


def value_of(rollout: RolloutLogprobs, advantages: torch.Tensor, *, norm: str = "token", kl: float = 0.0):
    counts = {"token": float(rollout.mask.sum()), "sequence": float(len(advantages))}
    loss = grpo_loss(rollout, advantages, clip_low=LOW, clip_high=HIGH, kl_weight=kl, loss_norm=norm)
    return loss.normalised(counts)  # pyright: ignore[reportArgumentType]


def naive(batch, norm: str, kl_weight: float) -> float:
    """The loss of a whole step, token by token."""
    rows = []
    columns = zip(
        batch.rows(batch.policy),
        batch.rows(batch.old),
        batch.rows(batch.reference),
        batch.advantages.tolist(),
        strict=True,
    )
    for policy, old, reference, advantage in columns:
        losses = []
        for p, o, q in zip(policy, old, reference, strict=True):
            ratio = math.exp(p - o)
            clipped = min(max(ratio, 1 - LOW), 1 + HIGH)
            k3 = math.exp(q - p) - (q - p) - 1
            losses.append(-min(ratio * advantage, clipped * advantage) + kl_weight * k3)
        rows.append(losses)
    if norm == "token":
        return sum(sum(row) for row in rows) / sum(len(row) for row in rows)
    return sum(sum(row) / len(row) for row in rows if row) / len(rows)


@norms
@pytest.mark.parametrize("kl", [0.0, 0.3])
def test_against_naive_twin(batch, norm: str, kl: float):
    found = value_of(rollout_of(batch), batch.advantages, norm=norm, kl=kl)
    assert found.item() == pytest.approx(naive(batch, norm, kl), rel=1e-12)


@norms
def test_what_stands_in_the_padding_does_not_matter(batch, norm: str):
    rubbish = [
        torch.cat([torch.where(batch.mask, x, torch.full_like(x, fill)), torch.full((6, 2), fill)], dim=1)
        for x, fill in ((batch.policy, 900.0), (batch.old, -900.0), (batch.reference, -900.0))
    ]
    mask = torch.cat([batch.mask, torch.zeros(6, 2, dtype=torch.bool)], dim=1)
    wide = RolloutLogprobs(rubbish[0], rubbish[1], mask, rubbish[2])
    expected = value_of(rollout_of(batch), batch.advantages, norm=norm, kl=0.3)
    assert value_of(wide, batch.advantages, norm=norm, kl=0.3).item() == pytest.approx(expected.item(), rel=1e-12)


@norms
@pytest.mark.parametrize("size", [1, 2, 4])
def test_micro_batches_do_not_matter(batch, norm: str, size: int):
    counts = {"token": float(batch.mask.sum()), "sequence": 6.0}
    settings = {"clip_low": LOW, "clip_high": HIGH, "kl_weight": 0.3, "loss_norm": norm}
    columns = (batch.policy, batch.old, batch.mask, batch.reference, batch.advantages)
    summed = sum(
        grpo_loss(RolloutLogprobs(*part[:4]), part[4], **settings).normalised(counts).item()
        for part in zip(*(column.split(size) for column in columns), strict=True)
    )
    whole = value_of(rollout_of(batch), batch.advantages, norm=norm, kl=0.3)
    assert summed == pytest.approx(whole.item(), rel=1e-12)


@pytest.mark.parametrize(
    ("ratio", "advantage", "loss", "gradient"),
    [
        (1.0, 2.0, -2.0, -2.0),
        (1.0, -2.0, 2.0, 2.0),
        (1.1, 2.0, -2.2, -2.2),  # inside the range
        (1.5, 2.0, -2.56, 0.0),  # good and already likelier: held back at 1 + 0.28
        (0.5, 2.0, -1.0, -1.0),  # good but less likely: never held back
        (0.5, -2.0, 1.6, 0.0),  # bad and already less likely: held back at 1 - 0.2
        (1.5, -2.0, 3.0, 3.0),  # bad but likelier: never held back
        (1.5, 0.0, 0.0, 0.0),
    ],
)
def test_clipping_by_hand_for_both_signs_of_the_advantage(ratio: float, advantage: float, loss: float, gradient: float):
    """One token; the gradient is with respect to its log-probability, ratio * -advantage where it is not clipped."""
    old = torch.tensor([[-1.0]], dtype=torch.float64)
    policy = (old + math.log(ratio)).requires_grad_()
    rollout = RolloutLogprobs(policy, old, old < 0)
    found = value_of(rollout, torch.tensor([advantage], dtype=torch.float64))
    (slope,) = torch.autograd.grad(found, policy)
    assert (found.item(), slope.item()) == (pytest.approx(loss), pytest.approx(gradient))


def test_metrics_by_hand():
    """Two tokens with ratios 1 and 2 and a positive advantage: one of two is clipped, the mean ratio is 1.5."""
    old = torch.full((1, 2), -3.0, dtype=torch.float64)
    policy = old + torch.tensor([[0.0, math.log(2)]])
    loss = grpo_loss(
        RolloutLogprobs(policy, old, old < 0, policy), torch.ones(1), clip_low=LOW, clip_high=HIGH, kl_weight=0.1
    )
    assert {name: value.item() for name, value in loss.metrics.items()} == pytest.approx(
        {"clip_share": 0.5, "ratio": 1.5, "kl": 0.0}
    )


@norms
@pytest.mark.parametrize("kl", [0.0, 0.3])
def test_the_gradient_is_that_of_the_value_and_stays_off_the_padding(batch, norm: str, kl: float):
    """Every ratio is away from the corners of the clip range, where there is no gradient to check."""
    ratios = (batch.policy - batch.old).exp()[batch.mask]
    assert min((ratios - (1 - LOW)).abs().min(), (ratios - (1 + HIGH)).abs().min()) > 1e-4
    policy = batch.policy.clone().requires_grad_()

    def value(x: torch.Tensor) -> torch.Tensor:
        return value_of(rollout_of(batch, policy=x), batch.advantages, norm=norm, kl=kl)

    assert torch.autograd.gradcheck(value, policy)
    (gradient,) = torch.autograd.grad(value(policy), policy)
    assert not gradient[~batch.mask].any()


@norms
@pytest.mark.parametrize("width", [0, 3])
def test_nothing_but_empty_responses_is_zero_with_finite_gradients(norm: str, width: int):
    empty = torch.zeros(2, width, dtype=torch.float64)
    policy = empty.clone().requires_grad_()
    found = value_of(RolloutLogprobs(policy, empty, empty.bool(), empty), torch.ones(2), norm=norm, kl=0.3)
    (gradient,) = torch.autograd.grad(found, policy)
    assert found.item() == 0
    assert torch.isfinite(gradient).all()


def test_no_advantage_means_no_gradient(batch):
    policy = batch.policy.clone().requires_grad_()
    found = value_of(rollout_of(batch, policy=policy), torch.zeros(6, dtype=torch.float64))
    (gradient,) = torch.autograd.grad(found, policy)
    assert not gradient.any()


def test_on_policy_the_gradient_is_that_of_plain_policy_gradient(batch):
    """With ratio 1: -advantage / tokens for every token, the REINFORCE gradient."""
    policy = batch.policy.clone().requires_grad_()
    found = value_of(rollout_of(batch, policy=policy, old=batch.policy), batch.advantages)
    (gradient,) = torch.autograd.grad(found, policy)
    expected = -batch.advantages[:, None] * batch.mask / batch.mask.sum()
    assert torch.allclose(gradient, expected, rtol=1e-12, atol=0)


def test_a_kl_term_without_a_reference_is_a_mistake_of_the_caller(batch):
    with pytest.raises(ValueError, match="needs reference"):
        value_of(replace(rollout_of(batch), reference=None), batch.advantages, kl=0.1)


def test_without_a_kl_term_the_reference_is_not_looked_at(batch):
    broken = rollout_of(batch, reference=torch.full_like(batch.policy, torch.nan))
    assert value_of(broken, batch.advantages).item() == value_of(rollout_of(batch), batch.advantages).item()


# Advantages -----------------------------------------------------------------------------------------------------------


def test_advantages_by_hand():
    """(0, 1): mean 0.5, deviation sqrt(0.5). (1, 2, 3, 6): mean 3, deviation sqrt((4 + 1 + 0 + 9) / 3)."""
    pair = torch.tensor([[0.0, 1.0]], dtype=torch.float64)
    assert group_advantages(pair, scale=False).tolist() == [[-0.5, 0.5]]
    assert group_advantages(pair)[0, 1].item() == pytest.approx(0.5 / (math.sqrt(0.5) + 1e-4))
    four = torch.tensor([[1.0, 2.0, 3.0, 6.0]], dtype=torch.float64)
    deviation = math.sqrt(14 / 3) + 1e-4
    assert group_advantages(four)[0].tolist() == pytest.approx([x / deviation for x in (-2, -1, 0, 3)])


@pytest.mark.parametrize("scale", [True, False])
@pytest.mark.parametrize("reward", [0.0, 0.1, 1 / 3, 1.5, 1e6])
@pytest.mark.parametrize("size", [2, 3, 7, 8])
def test_a_group_without_variance_has_exactly_zero_advantage(scale: bool, reward: float, size: int):
    """Exactly: the mean of equal floats need not equal them, and 1e-8 / 1e-4 would be a gradient."""
    rewards = torch.full((3, size), reward)
    rewards[1, 0] += 1
    advantages = group_advantages(rewards, scale=scale)
    assert not advantages[[0, 2]].any()
    assert advantages[1].all()
    assert zero_variance(rewards).tolist() == [True, False, True]


@given(st.lists(st.lists(st.sampled_from([0.0, 0.5, 1.0, 1.5]), min_size=4, max_size=4), min_size=1, max_size=5))
def test_groups_do_not_see_each_other_and_sum_to_zero(groups: list[list[float]]):
    rewards = torch.tensor(groups, dtype=torch.float64)
    advantages = group_advantages(rewards)
    for row, group in zip(advantages, rewards, strict=True):
        assert torch.allclose(row, group_advantages(group[None])[0], rtol=1e-12, atol=1e-12)
        assert row.sum().item() == pytest.approx(0, abs=1e-9)
        assert ((row[:, None] > row) == (group[:, None] > group)).all(), "advantages keep the order of rewards"


# The k3 estimate ------------------------------------------------------------------------------------------------------


def test_k3_by_hand():
    """Log-ratio ln 2: 2 - ln 2 - 1. Log-ratio -ln 2: 0.5 + ln 2 - 1."""
    policy = torch.tensor([0.0, 0.0, 0.0], dtype=torch.float64)
    reference = torch.tensor([math.log(2), -math.log(2), 0.0], dtype=torch.float64)
    assert kl_k3(policy, reference).tolist() == pytest.approx([1 - math.log(2), math.log(2) - 0.5, 0.0])


def test_k3_is_unbiased_under_the_policy():
    """Its expectation, summed over a whole vocabulary, is the Kullback-Leibler divergence."""
    generator = torch.Generator().manual_seed(2)
    policy, reference = torch.randn(2, 50, generator=generator, dtype=torch.float64).log_softmax(-1)
    exact = (policy.exp() * (policy - reference)).sum()
    assert (policy.exp() * kl_k3(policy, reference)).sum().item() == pytest.approx(exact.item(), rel=1e-12)


def test_k3_is_never_negative_and_precise_for_small_gaps_in_single_precision():
    """``exp(gap) - gap - 1`` cancels: at a gap of 1e-3 it would be off by a tenth, at 1e-4 below zero at times."""
    gaps = torch.logspace(-9, 0.5, 2001)
    gaps = torch.cat([gaps, -gaps])
    found = kl_k3(torch.zeros_like(gaps), gaps)
    exact = torch.expm1(gaps.double()) - gaps.double()
    assert (found >= 0).all()
    sizable = gaps.abs() > 1e-3
    assert torch.allclose(found[sizable].double(), exact[sizable], rtol=1e-3, atol=0)
