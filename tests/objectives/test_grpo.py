"""Group relative policy optimisation and its variants against loops over floats and worked values."""

import math
from dataclasses import replace
from itertools import product

import pytest
import torch
from torch import Tensor

from specs_lab.core.options import InvalidOption
from specs_lab.objectives.grpo import LOSS_NORMS, RATIO_LEVELS, GRPOOptions, RolloutLogprobs, grpo_loss
from specs_lab.objectives.kl import KL_ESTIMATORS, KL_GRADIENTS

norms = pytest.mark.parametrize("norm", LOSS_NORMS)
levels = pytest.mark.parametrize("level", RATIO_LEVELS)
PENALTIES = [
    {},
    *({"kl_weight": 0.3, "kl_estimator": e, "kl_gradient": g} for e in KL_ESTIMATORS for g in KL_GRADIENTS),
]
penalties = pytest.mark.parametrize("penalty", PENALTIES, ids=lambda penalty: "-".join(map(str, penalty.values())))
LOW, HIGH = 0.2, 0.28


def options_of(norm: str = "token", level: str = "token", **settings) -> GRPOOptions:
    return GRPOOptions(**{"clip_low": LOW, "clip_high": HIGH, "loss_norm": norm, "ratio_level": level, **settings})


def rollout_of(batch, **changes: Tensor) -> RolloutLogprobs:
    return replace(RolloutLogprobs(batch.policy, batch.old, batch.mask, batch.reference), **changes)


def value_of(rollout: RolloutLogprobs, advantages: Tensor, options: GRPOOptions) -> Tensor:
    rows = float(len(advantages))
    counts = {"token": float(rollout.mask.sum()), "sequence": rows, "capacity": rows * 7}
    return grpo_loss(rollout, advantages, options).normalised(counts)  # pyright: ignore[reportArgumentType]


def naive(batch, options: GRPOOptions) -> float:
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
        mean = sum(p - o for p, o in zip(policy, old, strict=True)) / max(len(policy), 1)
        for p, o, q in zip(policy, old, reference, strict=True):
            ratio = math.exp(p - o if options.ratio_level == "token" else mean)
            clipped = min(max(ratio, 1 - options.clip_low), 1 + options.clip_high)
            kl = {"k1": p - q, "k2": (p - q) ** 2 / 2, "k3": math.exp(q - p) - (q - p) - 1}[options.kl_estimator]
            if options.kl_gradient == "unbiased":
                kl *= math.exp(p - o)
            losses.append(-min(ratio * advantage, clipped * advantage) + options.kl_weight * kl)
        rows.append(losses)
    match options.loss_norm:
        case "token":
            return sum(sum(row) for row in rows) / sum(len(row) for row in rows)
        case "sequence":
            return sum(sum(row) / len(row) for row in rows if row) / len(rows)
        case _:
            return sum(sum(row) for row in rows) / (len(rows) * 7)


@norms
@levels
@penalties
def test_against_naive_twin(batch, norm: str, level: str, penalty: dict):
    options = options_of(norm, level, **penalty)
    found = value_of(rollout_of(batch), batch.advantages, options)
    assert found.item() == pytest.approx(naive(batch, options), rel=1e-12)


@norms
@levels
@penalties
def test_what_stands_in_the_padding_does_not_matter(batch, norm: str, level: str, penalty: dict):
    rubbish = [
        torch.cat([torch.where(batch.mask, x, torch.full_like(x, fill)), torch.full((6, 2), fill)], dim=1)
        for x, fill in ((batch.policy, 900.0), (batch.old, -900.0), (batch.reference, math.nan))
    ]
    mask = torch.cat([batch.mask, torch.zeros(6, 2, dtype=torch.bool)], dim=1)
    policy = rubbish[0].requires_grad_()
    wide = RolloutLogprobs(policy, rubbish[1], mask, rubbish[2])
    options = options_of(norm, level, **penalty)
    expected, found = (value_of(rollout, batch.advantages, options) for rollout in (rollout_of(batch), wide))
    assert found.item() == pytest.approx(expected.item(), rel=1e-12)
    (gradient,) = torch.autograd.grad(found, policy)
    assert not gradient[~mask].any()
    assert torch.isfinite(gradient).all()


@norms
@levels
@penalties
@pytest.mark.parametrize("size", [1, 2, 4])
def test_micro_batches_do_not_matter(batch, norm: str, level: str, penalty: dict, size: int):
    options = options_of(norm, level, **penalty)
    columns = (batch.policy, batch.old, batch.mask, batch.reference, batch.advantages)
    summed = sum(
        grpo_loss(RolloutLogprobs(*part[:4]), part[4], options).normalised(batch.counts).item()
        for part in zip(*(column.split(size) for column in columns), strict=True)
    )
    assert summed == pytest.approx(value_of(rollout_of(batch), batch.advantages, options).item(), rel=1e-12)


@levels
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
def test_clipping_by_hand_for_both_signs_of_the_advantage(
    level: str, ratio: float, advantage: float, loss: float, gradient: float
):
    """One token, whose ratio is the response's too; the gradient is that with respect to its log-probability, ratio *
    -advantage where it is not clipped."""
    old = torch.tensor([[-1.0]], dtype=torch.float64)
    policy = (old + math.log(ratio)).requires_grad_()
    rollout = RolloutLogprobs(policy, old, old < 0)
    found = value_of(rollout, torch.tensor([advantage], dtype=torch.float64), options_of(level=level))
    (slope,) = torch.autograd.grad(found, policy)
    assert (found.item(), slope.item()) == (pytest.approx(loss), pytest.approx(gradient))


def test_metrics_by_hand():
    """Two tokens with ratios 1 and 2 and a positive advantage: one of two is clipped, the mean ratio is 1.5. Three with
    0.5, 2, 1 and a negative one: one is clipped, from below; the mean is 7 / 6. Log-ratios to the reference are 0."""
    mask = torch.tensor([[True, True, False], [True, True, True]])
    old = torch.full((2, 3), -3.0, dtype=torch.float64)
    policy = old + torch.tensor([[1.0, 2.0, 9.0], [0.5, 2.0, 1.0]], dtype=torch.float64).log()
    rollout = RolloutLogprobs(policy, old, mask, policy)
    loss = grpo_loss(rollout, torch.tensor([1.0, -1.0]), options_of(kl_weight=0.1))
    assert {name: value.item() for name, value in loss.metrics.items()} == pytest.approx(
        {
            "clip_share": 1 / 2 + 1 / 3,
            "clip_share_high": 1 / 2,
            "clip_share_low": 1 / 3,
            "ratio": 1.5 + 3.5 / 3,
            "kl": 0.0,
        }
    )
    whole = grpo_loss(rollout, torch.tensor([1.0, -1.0]), options_of(level="sequence")).metrics
    assert whole["ratio"].item() == pytest.approx(math.sqrt(2) + 1)
    assert (whole["clip_share_high"].item(), whole["clip_share_low"].item()) == (1, 0)


@penalties
def test_the_kl_metric_is_the_value_of_the_penalty(batch, penalty: dict):
    """Without advantages and with sequence means, the loss is the penalty alone."""
    loss = grpo_loss(rollout_of(batch), torch.zeros(6), options_of("sequence", **penalty))
    value = loss.normalised(batch.counts).item()
    assert ("kl" in loss.metrics) == bool(penalty)
    assert value == pytest.approx(0.3 * loss.metrics["kl"].item() / 6 if penalty else 0.0)


@norms
@levels
@pytest.mark.parametrize("penalty", [p for p in PENALTIES if p.get("kl_gradient") != "unbiased"])
def test_the_gradient_is_that_of_the_value(batch, norm: str, level: str, penalty: dict):
    """Every ratio is away from the corners of the clip range, where there is no gradient to check."""
    gaps = batch.policy - batch.old
    means = gaps.sum(-1) / batch.mask.sum(-1).clamp(min=1)
    ratios = (gaps[batch.mask] if level == "token" else means).exp()
    assert min((ratios - (1 - LOW)).abs().min(), (ratios - (1 + HIGH)).abs().min()) > 1e-4
    policy, options = batch.policy.clone().requires_grad_(), options_of(norm, level, **penalty)
    assert torch.autograd.gradcheck(lambda x: value_of(rollout_of(batch, policy=x), batch.advantages, options), policy)


@norms
@pytest.mark.parametrize("estimator", KL_ESTIMATORS)
def test_the_unbiased_penalty_pulls_each_token_by_its_ratio_times_its_log_ratio(batch, norm: str, estimator: str):
    """Without advantages the gradient is weight * r * (p - q), over what the normalisation divides by."""
    policy = batch.policy.clone().requires_grad_()
    options = options_of(norm, kl_weight=0.3, kl_estimator=estimator, kl_gradient="unbiased")
    (found,) = torch.autograd.grad(value_of(rollout_of(batch, policy=policy), torch.zeros(6), options), policy)
    lengths = batch.mask.sum(-1, keepdim=True).clamp(min=1)
    count = {"token": batch.mask.sum(), "sequence": lengths * 6, "capacity": 6 * 7}[norm]
    pull = (batch.policy - batch.old).exp() * (batch.policy - batch.reference) * batch.mask
    assert torch.allclose(found, 0.3 * pull / count, rtol=1e-12, atol=0)


@norms
@levels
@penalties
@pytest.mark.parametrize("width", [0, 3])
def test_nothing_but_empty_responses_is_zero_with_finite_gradients(norm: str, level: str, penalty: dict, width: int):
    empty = torch.zeros(2, width, dtype=torch.float64)
    policy = empty.clone().requires_grad_()
    rollout = RolloutLogprobs(policy, empty, empty.bool(), empty)
    loss = grpo_loss(rollout, torch.ones(2), options_of(norm, level, **penalty))
    found = loss.normalised({"token": 0.0, "sequence": 2.0, "capacity": 14.0})
    (gradient,) = torch.autograd.grad(found, policy)
    assert found.item() == 0
    assert not gradient.any()
    assert not any(loss.metrics.values())


@levels
def test_no_advantage_means_no_gradient(batch, level: str):
    policy = batch.policy.clone().requires_grad_()
    found = value_of(rollout_of(batch, policy=policy), torch.zeros(6, dtype=torch.float64), options_of(level=level))
    (gradient,) = torch.autograd.grad(found, policy)
    assert not gradient.any()


@norms
@levels
def test_on_policy_the_gradient_is_that_of_plain_policy_gradient(batch, norm: str, level: str):
    """With ratio 1: -advantage over the normalisation for every token, the REINFORCE gradient. Where a response's
    tokens share one loss, each of them still gets as much."""
    policy = batch.policy.clone().requires_grad_()
    rollout = rollout_of(batch, policy=policy, old=batch.policy)
    (gradient,) = torch.autograd.grad(value_of(rollout, batch.advantages, options_of(norm, level)), policy)
    lengths = batch.mask.sum(-1, keepdim=True).clamp(min=1)
    count = {"token": batch.mask.sum(), "sequence": lengths * 6, "capacity": 6 * 7}[norm]
    assert torch.allclose(gradient, -batch.advantages[:, None] * batch.mask / count, rtol=1e-12, atol=0)


# GSPO and Dr. GRPO ----------------------------------------------------------------------------------------------------


def test_gspo_by_hand():
    """Ratios 2 and 0.55: their geometric mean sqrt(1.1) is within the range, though each of them is not. The loss is
    -2 sqrt(1.1), and each of the two tokens gets half its gradient. Ratios 2 and 2 are clipped as a whole."""
    old = torch.full((1, 2), -3.0, dtype=torch.float64)
    advantage = torch.tensor([2.0], dtype=torch.float64)
    policy = (old + torch.tensor([2.0, 0.55], dtype=torch.float64).log()).requires_grad_()
    found = value_of(RolloutLogprobs(policy, old, old < 0), advantage, options_of("sequence", "sequence"))
    (gradient,) = torch.autograd.grad(found, policy)
    assert found.item() == pytest.approx(-2 * math.sqrt(1.1))
    assert gradient[0].tolist() == pytest.approx([-math.sqrt(1.1)] * 2)
    likelier = (old + math.log(2)).requires_grad_()
    found = value_of(RolloutLogprobs(likelier, old, old < 0), advantage, options_of("sequence", "sequence"))
    (gradient,) = torch.autograd.grad(found, likelier)
    assert found.item() == pytest.approx(-2 * 1.28)
    assert not gradient.any()


def test_gspo_is_its_papers_formula(batch):
    """Equations 5 to 7: mean over responses of min(s A, clip(s) A), s = (p_new(y) / p_old(y))^(1 / |y|)."""
    total = 0.0
    for policy, old, advantage in zip(
        batch.rows(batch.policy), batch.rows(batch.old), batch.advantages.tolist(), strict=True
    ):
        if policy:
            s = (math.exp(sum(policy)) / math.exp(sum(old))) ** (1 / len(policy))
            total += min(s * advantage, min(max(s, 1 - 3e-4), 1 + 4e-4) * advantage)
    options = options_of("sequence", "sequence", clip_low=3e-4, clip_high=4e-4)
    found = value_of(rollout_of(batch), batch.advantages, options)
    assert found.item() == pytest.approx(-total / 6, rel=1e-12)


def test_the_capacity_does_not_depend_on_the_lengths(batch):
    """Dr. GRPO: a token counts the same in a long response as in a short one, and in a step of long responses as in
    one of short ones; only the number of responses and the longest allowed matter."""
    options = options_of("capacity")
    alone = sum(
        grpo_loss(RolloutLogprobs(policy[keep][None], old[keep][None], keep[keep][None]), advantage[None], options)
        .terms[0]
        .total.item()
        for policy, old, keep, advantage in zip(batch.policy, batch.old, batch.mask, batch.advantages, strict=True)
    )
    assert value_of(rollout_of(batch), batch.advantages, options).item() == pytest.approx(alone / (6 * 7), rel=1e-12)


# What callers get wrong -----------------------------------------------------------------------------------------------


def test_a_kl_term_without_a_reference_is_a_mistake_of_the_caller(batch):
    with pytest.raises(ValueError, match="needs reference"):
        value_of(replace(rollout_of(batch), reference=None), batch.advantages, options_of(kl_weight=0.1))


def test_without_a_kl_term_the_reference_is_not_looked_at(batch):
    broken = rollout_of(batch, reference=torch.full_like(batch.policy, torch.nan))
    expected = value_of(rollout_of(batch), batch.advantages, options_of())
    assert value_of(broken, batch.advantages, options_of()).item() == expected.item()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *product(["advantage_scale", "ratio_level", "kl_estimator", "kl_gradient", "loss_norm"], ["", "mean"]),
        *product(["max_resamples", "kl_weight"], [-1]),
        ("clip_low", 0.0),
        ("clip_high", 0.0),
    ],
)
def test_each_wrong_value_is_reported_with_its_field(field: str, value):
    with pytest.raises(InvalidOption) as error:
        GRPOOptions(**{field: value})
    assert [fault.where for fault in error.value.faults] == [field]


def test_wrong_values_are_reported_together():
    with pytest.raises(InvalidOption) as error:
        GRPOOptions(ratio_level="word", kl_estimator="k4", advantage_scale="rank", max_resamples=-1)
    fields = [fault.where for fault in error.value.faults]
    assert fields == ["ratio_level", "kl_estimator", "advantage_scale", "max_resamples"]


def test_a_range_of_accuracy_that_no_group_can_have_is_refused():
    GRPOOptions(group_size=8, accuracy_low=0.9, accuracy_high=1.0)
    with pytest.raises(InvalidOption, match="no group of 8"):
        GRPOOptions(group_size=8, accuracy_low=0.95, accuracy_high=0.99)


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"kl_target": -1.0, "kl_weight": 0.1}, "kl_target"),
        ({"kl_target": 0.1}, "kl_target"),  # there is no weight to adapt
        ({"accuracy_low": 0.6, "accuracy_high": 0.5}, "accuracy_low"),
        ({"accuracy_low": -0.1}, "accuracy_low"),
        ({"accuracy_high": 1.1}, "accuracy_high"),
        ({"prompt_masking": 1.0}, "prompt_masking"),  # nothing would be left to read
        ({"prompt_masking": -0.1}, "prompt_masking"),
    ],
)
def test_options_that_make_no_sense_together_are_refused(options: dict[str, float], field: str):
    with pytest.raises(InvalidOption) as error:
        GRPOOptions(**options)  # pyright: ignore[reportArgumentType]
    assert {fault.where for fault in error.value.faults} == {field}
