"""Supervised fine-tuning against loops over floats, and what must not change it: padding and micro-batches."""

import pytest
import torch

from specs_lab.objectives.sft import SFT_NORMS, sft_loss, sft_term

norms = pytest.mark.parametrize("norm", SFT_NORMS)


def naive(rows: list[list[float]], norm: str) -> float:
    """The loss of a whole step, token by token."""
    if norm == "token":
        return -sum(sum(row) for row in rows) / sum(len(row) for row in rows)
    return sum(-sum(row) / len(row) for row in rows if row) / len(rows)


def counts(mask: torch.Tensor) -> dict:
    return {"token": float(mask.sum()), "sequence": float(len(mask))}


@norms
def test_against_naive_twin(batch, norm: str):
    loss = sft_loss(batch.policy, batch.mask, norm).normalised(counts(batch.mask))
    assert loss.item() == pytest.approx(naive(batch.rows(batch.policy), norm), rel=1e-12)


def test_worked_by_hand():
    """Rows (-1, -3) and (-2): the token mean is 6 / 3 = 2, the mean of means (2 + 2) / 2 = 2; with weights (-1, -4)
    and (-2) they differ: 7 / 3 and (2.5 + 2) / 2."""
    mask = torch.tensor([[True, True], [True, False]])
    logprobs = torch.tensor([[-1.0, -4.0], [-2.0, 0.0]], dtype=torch.float64)
    assert sft_loss(logprobs, mask, "token").normalised(counts(mask)).item() == pytest.approx(7 / 3)
    assert sft_loss(logprobs, mask, "sequence").normalised(counts(mask)).item() == pytest.approx(2.25)


@norms
def test_what_stands_in_the_padding_does_not_matter(batch, norm: str):
    rubbish = torch.where(batch.mask, batch.policy, torch.full_like(batch.policy, 1e6))
    wider = torch.cat([rubbish, torch.full((len(rubbish), 3), -7.0)], dim=1)
    mask = torch.cat([batch.mask, torch.zeros(len(rubbish), 3, dtype=torch.bool)], dim=1)
    expected, found = sft_loss(batch.policy, batch.mask, norm), sft_loss(wider, mask, norm)
    assert found.terms[0].total.item() == pytest.approx(expected.terms[0].total.item(), rel=1e-12)
    assert found.metrics["nll"].item() == pytest.approx(expected.metrics["nll"].item(), rel=1e-12)


@norms
@pytest.mark.parametrize("size", [1, 2, 4, 5])
def test_micro_batches_do_not_matter(batch, norm: str, size: int):
    whole = sft_loss(batch.policy, batch.mask, norm).normalised(counts(batch.mask))
    parts = [
        sft_loss(policy, mask, norm).normalised(counts(batch.mask))
        for policy, mask in zip(batch.policy.split(size), batch.mask.split(size), strict=True)
    ]
    assert sum(part.item() for part in parts) == pytest.approx(whole.item(), rel=1e-12)


@norms
def test_nothing_but_empty_responses_is_zero_with_finite_gradients(norm: str):
    logprobs = torch.zeros(2, 3, dtype=torch.float64, requires_grad=True)
    mask = torch.zeros(2, 3, dtype=torch.bool)
    loss = sft_loss(logprobs, mask, norm)
    value = loss.normalised(counts(mask))
    (gradient,) = torch.autograd.grad(value, logprobs)
    assert value.item() == 0
    assert not gradient.any()
    assert loss.metrics["nll"].item() == 0


def test_responses_without_any_width_are_zero():
    empty = torch.zeros(2, 0, dtype=torch.float64)
    assert sft_loss(empty, empty.bool(), "token").normalised({"token": 0, "sequence": 2}).item() == 0


@norms
def test_the_gradient_is_that_of_the_value_and_stays_off_the_padding(batch, norm: str):
    logprobs = batch.policy.clone().requires_grad_()

    def value(x: torch.Tensor) -> torch.Tensor:
        return sft_loss(x, batch.mask, norm).normalised(counts(batch.mask))

    assert torch.autograd.gradcheck(value, logprobs)
    (gradient,) = torch.autograd.grad(value(logprobs), logprobs)
    assert ((gradient != 0) == batch.mask).all()


def test_the_weight_scales_the_loss_and_metrics_carry_no_gradient(batch):
    logprobs = batch.policy.clone().requires_grad_()
    term = sft_term(logprobs, batch.mask, "token", weight=0.5)
    assert (term.weight, term.unit) == (0.5, "token")
    loss = sft_loss(logprobs, batch.mask, "sequence")
    assert loss.terms[0].unit == "sequence"
    assert not loss.metrics["nll"].requires_grad
    expected = -sum(sum(row) / len(row) for row in batch.rows(batch.policy) if row)
    assert loss.metrics["nll"].item() == pytest.approx(expected)
