"""Direct preference optimisation against loops over floats and worked values."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from specs_lab.objectives.dpo import PairLogps, dpo_loss

LOGPS = st.lists(st.tuples(*[st.floats(-200, 0)] * 4), min_size=1, max_size=5)


def pairs_of(rows: list[tuple[float, ...]], dtype: torch.dtype = torch.float64) -> PairLogps:
    return PairLogps(*(torch.tensor(column, dtype=dtype) for column in zip(*rows, strict=True)))


def counts(pairs: PairLogps) -> dict:
    return {"token": 1.0, "sequence": float(len(pairs.policy_chosen))}


def naive(rows: list[tuple[float, ...]], beta: float) -> float:
    """Mean of log(1 + exp(-margin)), pair by pair; written so that large margins do not overflow."""
    total = 0.0
    for policy_chosen, policy_rejected, reference_chosen, reference_rejected in rows:
        margin = beta * ((policy_chosen - reference_chosen) - (policy_rejected - reference_rejected))
        total += math.log1p(math.exp(-abs(margin))) + max(-margin, 0.0)
    return total / len(rows)


@given(LOGPS, st.sampled_from([0.05, 0.1, 1.0]))
def test_against_naive_twin(rows: list[tuple[float, ...]], beta: float):
    pairs = pairs_of(rows)
    found = dpo_loss(pairs, beta).normalised(counts(pairs)).item()
    assert found == pytest.approx(naive(rows, beta), rel=1e-12, abs=1e-12)


def test_worked_by_hand():
    """Chosen rises by 2, rejected falls by 3, beta 0.1: margin 0.5, loss log(1 + e^-0.5) = 0.474077."""
    pairs = pairs_of([(-10.0, -23.0, -12.0, -20.0)])
    loss = dpo_loss(pairs, 0.1)
    assert loss.normalised(counts(pairs)).item() == pytest.approx(0.474077, abs=1e-6)
    assert {name: value.item() for name, value in loss.metrics.items()} == pytest.approx(
        {
            "dpo_loss": 0.474077,
            "reward_chosen": 0.2,
            "reward_rejected": -0.3,
            "reward_margin": 0.5,
            "reward_accuracy": 1.0,
        },
        abs=1e-6,
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_loss_is_exactly_ln_2_while_the_policy_is_the_reference(dtype: torch.dtype):
    generator = torch.Generator().manual_seed(0)
    chosen, rejected = (-50 * torch.rand(7, generator=generator, dtype=dtype) for _ in range(2))
    loss = dpo_loss(PairLogps(chosen, rejected, chosen.clone(), rejected.clone()), 0.1)
    each = loss.metrics["dpo_loss"] / 7
    assert torch.equal(each, torch.tensor(math.log(2), dtype=dtype))
    assert loss.metrics["reward_margin"].item() == loss.metrics["reward_accuracy"].item() == 0


def test_the_gradient_pushes_the_sides_apart_and_is_that_of_the_value():
    """At the start it is beta / 2 for each pair, up for chosen and down for rejected."""
    columns = [torch.tensor([-3.0, -9.0], dtype=torch.float64, requires_grad=True) for _ in range(2)]
    references = [column.detach().clone().requires_grad_() for column in columns]

    def value(chosen: torch.Tensor, rejected: torch.Tensor) -> torch.Tensor:
        pairs = PairLogps(chosen, rejected, *(reference.detach() for reference in references))
        return dpo_loss(pairs, 0.1).normalised({"token": 1.0, "sequence": 2.0})

    assert torch.autograd.gradcheck(value, columns)
    chosen, rejected = torch.autograd.grad(value(*columns), columns)
    assert torch.allclose(chosen, torch.full_like(chosen, -0.1 / 2 / 2))
    assert torch.equal(rejected, -chosen)


@pytest.mark.parametrize("size", [1, 2, 3])
def test_micro_batches_do_not_matter(size: int):
    generator = torch.Generator().manual_seed(1)
    columns = [-20 * torch.rand(5, generator=generator, dtype=torch.float64) for _ in range(4)]
    whole = PairLogps(*columns)
    parts = [PairLogps(*part) for part in zip(*(column.split(size) for column in columns), strict=True)]
    summed = sum(dpo_loss(part, 0.1).normalised(counts(whole)).item() for part in parts)
    assert summed == pytest.approx(dpo_loss(whole, 0.1).normalised(counts(whole)).item(), rel=1e-12)


def test_huge_margins_and_empty_responses_stay_finite():
    """An empty response has log-probability 0 under both models."""
    pairs = pairs_of([(0.0, 0.0, 0.0, 0.0), (-1e5, 0.0, 0.0, -1e5), (0.0, -1e5, -1e5, 0.0)], torch.float32)
    chosen = pairs.policy_chosen.requires_grad_()
    loss = dpo_loss(pairs, 0.1).normalised(counts(pairs))
    (gradient,) = torch.autograd.grad(loss, chosen)
    assert loss.item() == pytest.approx((math.log(2) + 20000.0) / 3)
    assert torch.isfinite(gradient).all()


def test_a_tie_is_no_success():
    pairs = pairs_of([(-1.0, -1.0, -1.0, -1.0), (-1.0, -2.0, -1.0, -1.0), (-2.0, -1.0, -1.0, -1.0)])
    assert dpo_loss(pairs, 0.1).metrics["reward_accuracy"].item() == 1
