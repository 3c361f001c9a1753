"""The hybrid is DPO plus lambda times SFT, both as the other two arms compute them."""

import math
from dataclasses import fields

import pytest
import torch

from specs_lab.core.options import InvalidOption
from specs_lab.objectives.dpo import PairLogps, dpo_loss
from specs_lab.objectives.hybrid import HybridOptions, hybrid_loss
from specs_lab.objectives.sft import SFT_NORMS, sft_loss


def pairs_of(batch) -> PairLogps:
    policy, reference = batch.policy.sum(-1), batch.reference.sum(-1)
    lengths = batch.mask.sum(-1)
    return PairLogps(policy, policy.flip(0) * 1.1, reference, reference.flip(0) * 1.1, lengths, lengths.flip(0))


def counts(batch) -> dict:
    return {"token": float(batch.mask.sum()), "sequence": float(len(batch.mask))}


@pytest.mark.parametrize("norm", SFT_NORMS)
@pytest.mark.parametrize("weight", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("variant", [{}, {"loss": "ipo", "length_normalised": True}, {"margin": 0.5, "beta": 2.0}])
def test_it_is_the_sum_of_its_parts(batch, norm: str, weight: float, variant: dict):
    options = HybridOptions(sft_weight=weight, sft_norm=norm, **variant)
    loss = hybrid_loss(pairs_of(batch), batch.policy, batch.mask, options)
    preference, supervised = dpo_loss(pairs_of(batch), options), sft_loss(batch.policy, batch.mask, norm)
    expected = preference.normalised(counts(batch)) + weight * supervised.normalised(counts(batch))
    assert loss.normalised(counts(batch)).item() == pytest.approx(expected.item(), rel=1e-12)
    assert set(loss.metrics) == {*preference.metrics, *supervised.metrics}


def test_worked_by_hand():
    """One pair at the start, chosen tokens (-1, -3), lambda 0.5: ln 2 + 0.5 * 2."""
    chosen = torch.tensor([[-1.0, -3.0]], dtype=torch.float64)
    logps = chosen.sum(-1)
    pairs = PairLogps(logps, logps - 1, logps, logps - 1, torch.tensor([2]), torch.tensor([3]))
    loss = hybrid_loss(pairs, chosen, chosen < 0, HybridOptions(sft_weight=0.5))
    assert loss.normalised({"token": 2.0, "sequence": 1.0}).item() == pytest.approx(math.log(2) + 1)


def test_rpo_is_its_papers_formula(batch):
    """-log sigmoid(beta h) - alpha log p(yw) / |yw|, averaged over pairs; an empty response adds no likelihood."""
    policy, reference = ([sum(row) for row in batch.rows(which)] for which in (batch.policy, batch.reference))
    expected = 0.0
    for i, tokens in enumerate(batch.rows(batch.policy)):
        j = 5 - i
        margin = 0.1 * ((policy[i] - reference[i]) - 1.1 * (policy[j] - reference[j]))
        expected += math.log1p(math.exp(-margin)) - 0.7 * sum(tokens) / max(len(tokens), 1)
    options = HybridOptions(sft_norm="sequence", sft_weight=0.7)
    found = hybrid_loss(pairs_of(batch), batch.policy, batch.mask, options).normalised(counts(batch))
    assert found.item() == pytest.approx(expected / 6, rel=1e-12)


@pytest.mark.parametrize("norm", SFT_NORMS)
@pytest.mark.parametrize("size", [1, 4])
def test_micro_batches_do_not_matter(batch, norm: str, size: int):
    pairs = pairs_of(batch)
    columns = [getattr(pairs, field.name) for field in fields(pairs)]
    options = HybridOptions(sft_weight=0.7, sft_norm=norm, length_normalised=True)
    whole = hybrid_loss(pairs, batch.policy, batch.mask, options).normalised(counts(batch))
    parts = zip(*(column.split(size) for column in (*columns, batch.policy, batch.mask)), strict=True)
    summed = sum(
        hybrid_loss(PairLogps(*part[:6]), *part[6:], options).normalised(counts(batch)).item() for part in parts
    )
    assert summed == pytest.approx(whole.item(), rel=1e-12)


def test_the_gradient_reaches_the_chosen_tokens_through_both_parts(batch):
    """As in training, where the whole-response log-probability is the sum over the tokens."""
    rejected, reference = batch.policy.sum(-1) - 1, batch.reference.sum(-1)
    lengths = batch.mask.sum(-1)

    def value(tokens: torch.Tensor) -> torch.Tensor:
        pairs = PairLogps((tokens * batch.mask).sum(-1), rejected, reference, reference - 1, lengths, lengths)
        return hybrid_loss(pairs, tokens, batch.mask, HybridOptions(sft_norm="sequence")).normalised(counts(batch))

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
    pairs = PairLogps(logps, zero, zero, zero, zero.long(), zero.long())
    loss = hybrid_loss(pairs, tokens, mask, HybridOptions())
    value = loss.normalised({"token": 0.0, "sequence": 2.0})
    (gradient,) = torch.autograd.grad(value, tokens)
    assert value.item() == math.log(2)
    assert torch.isfinite(gradient).all()


def test_wrong_values_are_reported_with_those_of_dpo():
    with pytest.raises(InvalidOption) as error:
        HybridOptions(margin=-1, sft_weight=-1, sft_norm="capacity")
    assert [fault.where for fault in error.value.faults] == ["margin", "sft_weight", "sft_norm"]
