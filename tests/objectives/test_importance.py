"""Weights that correct for responses which another engine sampled."""

import math

import pytest
import torch

from specs_lab.core.options import InvalidOption
from specs_lab.objectives.grpo import GRPOOptions, RolloutLogprobs, grpo_loss, importance_weights
from specs_lab.rollout.options.vllm import VllmRollout
from specs_lab.rollout.options.vllm_colocated import VllmColocatedRollout


@pytest.fixture
def sides():
    """Log-probabilities of the policy, of it before, and of the engine, a mask, and advantages; in float64."""
    generator = torch.Generator().manual_seed(0)
    policy, old, engine = (-3 * torch.rand(4, 6, generator=generator, dtype=torch.float64) for _ in range(3))
    mask = torch.arange(6)[None] < torch.tensor([6, 1, 3, 5])[:, None]
    return policy, old, engine, mask, torch.tensor([1.0, -0.5, 2.0, -1.0], dtype=torch.float64)


@pytest.mark.parametrize("kl_weight", [0.0, 0.3])
@pytest.mark.parametrize("loss_norm", ["token", "sequence", "capacity"])
def test_the_loss_is_that_of_a_twin_written_token_by_token(sides, loss_norm, kl_weight):
    policy, old, engine, mask, advantages = sides
    options = GRPOOptions(loss_norm=loss_norm, kl_weight=kl_weight, kl_estimator="k2")
    policy.requires_grad_()
    weights = torch.where(mask, importance_weights(old, engine, 1.5), torch.nan)
    rollout = RolloutLogprobs(policy, old, mask, reference=engine if kl_weight else None, importance=weights)
    loss = grpo_loss(rollout, advantages, options).terms[0].total
    loss.backward()

    total = 0.0
    for i in range(4):
        length = int(mask[i].sum())
        for t in range(length):
            p, o, e, a = float(policy.detach()[i, t]), float(old[i, t]), float(engine[i, t]), float(advantages[i])
            ratio = math.exp(p - o)
            value = -min(math.exp(o - e), 1.5) * min(ratio * a, min(max(ratio, 0.8), 1.2) * a)
            value += kl_weight * (p - e) ** 2 / 2
            total += value / length if loss_norm == "sequence" else value
    assert float(loss.detach()) == pytest.approx(total, rel=1e-12)
    assert policy.grad is not None
    assert policy.grad.isfinite().all()


def test_weights_are_cut_at_the_cap_and_never_raised():
    weights = importance_weights(torch.tensor([0.0, -1.0, -3.0]), torch.tensor([-2.0, -1.0, -1.0]), 2.0)
    assert weights.tolist() == pytest.approx([2.0, 1.0, math.exp(-2)])


def test_an_exact_engine_leaves_every_bit_of_the_loss_and_its_gradient(sides):
    policy, old, _, mask, advantages = (part.float() if part.is_floating_point() else part for part in sides)
    results = []
    for weights in (None, importance_weights(old, old, 2.0)):
        leaf = policy.clone().requires_grad_()
        loss = grpo_loss(RolloutLogprobs(leaf, old, mask, importance=weights), advantages, GRPOOptions())
        loss.terms[0].total.backward()
        results.append((loss.terms[0].total.detach(), leaf.grad))
    assert torch.equal(results[0][0], results[1][0])
    assert torch.equal(results[0][1], results[1][1])


@pytest.mark.parametrize(
    ("kind", "given", "where"),
    [
        (VllmRollout, {"ahead": 1, "importance_cap": 0.0}, "importance_cap"),
        (VllmRollout, {"sync_every": 2, "importance_cap": 0.0}, "importance_cap"),
        (VllmRollout, {"ahead": 2}, "ahead"),
        (VllmRollout, {"url": "http://a:1", "python": "python"}, "python"),
        (VllmRollout, {"url": "ftp://a"}, "url"),
        (VllmRollout, {"dtype": "int8"}, "dtype"),
        (VllmColocatedRollout, {"ahead": 1}, "ahead"),
        (VllmColocatedRollout, {"sleep_level": 3}, "sleep_level"),
    ],
)
def test_settings_that_do_not_fit_are_faults(kind, given, where):
    with pytest.raises(InvalidOption) as error:
        kind(**given)
    assert where in {fault.where for fault in error.value.faults}
