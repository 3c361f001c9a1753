"""The hybrid is DPO plus lambda times SFT, both as the other two arms compute them."""

import math

import pytest
import torch

from specs_lab.objectives.dpo import PairLogps, dpo_loss
from specs_lab.objectives.hybrid import hybrid_loss
from specs_lab.objectives.sft import SFT_NORMS, sft_loss


def pairs_of(batch) -> PairLogps:
    policy, reference = batch.policy.sum(-1), batch.reference.sum(-1)
    return PairLogps(policy, policy.flip(0) * 1.1, reference, reference.flip(0) * 1.1)


def counts(batch) -> dict:
    return {"token": float(batch.mask.sum()), "sequence": float(len(batch.mask))}


@pytest.mark.parametrize("norm", SFT_NORMS)
@pytest.mark.parametrize("weight", [0.0, 0.5, 1.0])
def test_it_is_the_sum_of_its_parts(batch, norm: str, weight: float):
    loss = hybrid_loss(pairs_of(batch), batch.policy, batch.mask, beta=0.1, sft_weight=weight, sft_norm=norm)
    preference, supervised = dpo_loss(pairs_of(batch), 0.1), sft_loss(batch.policy, batch.mask, norm)
    expected = preference.normalised(counts(batch)) + weight * supervised.normalised(counts(batch))
    assert loss.normalised(counts(batch)).item() == pytest.approx(expected.item(), rel=1e-12)
    assert set(loss.metrics) == {*preference.metrics, *supervised.metrics}


def test_worked_by_hand():
    """One pair at the start, chosen tokens (-1, -3), lambda 0.5: ln 2 + 0.5 * 2."""
    chosen = torch.tensor([[-1.0, -3.0]], dtype=torch.float64)
    logps = chosen.sum(-1)
    loss = hybrid_loss(
        PairLogps(logps, logps - 1, logps, logps - 1), chosen, chosen < 0, beta=0.1, sft_weight=0.5, sft_norm="token"
    )
    assert loss.normalised({"token": 2.0, "sequence": 1.0}).item() == pytest.approx(math.log(2) + 1)


@pytest.mark.parametrize("norm", SFT_NORMS)
@pytest.mark.parametrize("size", [1, 4])
def test_micro_batches_do_not_matter(batch, norm: str, size: int):
    pairs = pairs_of(batch)
    columns = (pairs.policy_chosen, pairs.policy_rejected, pairs.reference_chosen, pairs.reference_rejected)
    settings = {"beta": 0.1, "sft_weight": 0.7, "sft_norm": norm}
    whole = hybrid_loss(pairs, batch.policy, batch.mask, **settings).normalised(counts(batch))
    parts = zip(*(column.split(size) for column in (*columns, batch.policy, batch.mask)), strict=True)
    summed = sum(
        hybrid_loss(PairLogps(*part[:4]), *part[4:], **settings).normalised(counts(batch)).item() for part in parts
    )
    assert summed == pytest.approx(whole.item(), rel=1e-12)


def test_the_gradient_reaches_the_chosen_tokens_through_both_parts(batch):
    """As in training, where the whole-response log-probability is the sum over the tokens."""
    rejected, reference = batch.policy.sum(-1) - 1, batch.reference.sum(-1)

    def value(tokens: torch.Tensor) -> torch.Tensor:
        pairs = PairLogps((tokens * batch.mask).sum(-1), rejected, reference, reference - 1)
        return hybrid_loss(pairs, tokens, batch.mask, beta=0.1, sft_weight=1.0, sft_norm="sequence").normalised(
            counts(batch)
        )

    tokens = batch.policy.clone().requires_grad_()
    assert torch.autograd.gradcheck(value, tokens)
    (gradient,) = torch.autograd.grad(value(tokens), tokens)
    assert (gradient[batch.mask] < 0).all()
    assert not gradient[~batch.mask].any()


def test_empty_chosen_responses_stay_finite():
    tokens = torch.zeros(2, 3, dtype=torch.float64, requires_grad=True)
    mask = torch.zeros(2, 3, dtype=torch.bool)
    logps = (tokens * mask).sum(-1)
    zero = torch.zeros(2, dtype=torch.float64)
    loss = hybrid_loss(PairLogps(logps, zero, zero, zero), tokens, mask, beta=0.1, sft_weight=1.0, sft_norm="token")
    value = loss.normalised({"token": 0.0, "sequence": 2.0})
    (gradient,) = torch.autograd.grad(value, tokens)
    assert value.item() == math.log(2)
    assert torch.isfinite(gradient).all()
