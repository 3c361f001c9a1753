"""KL penalties: worked values, and the gradient that they have on average over what was sampled.

The average is exact: a small vocabulary is enumerated, each token weighted by how often it is sampled.
"""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from specs_lab.objectives.kl import KL_ESTIMATORS, KL_GRADIENTS, adapted_weight, k1, k2, k3, kl_penalty

estimators = pytest.mark.parametrize("estimator", KL_ESTIMATORS)
gradients = pytest.mark.parametrize("gradient", KL_GRADIENTS)
VOCABULARY = 6


def draw_logits(seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Of policy, reference and the policy that sampled: three different distributions, each (6,) float64."""
    policy, reference, shift = torch.randn(
        3, VOCABULARY, generator=torch.Generator().manual_seed(seed), dtype=torch.float64
    )
    return policy.requires_grad_(), reference, policy.detach() + 0.7 * shift


def kl(policy: Tensor, reference: Tensor) -> Tensor:
    """KL(policy || reference), exact, of log-probabilities over the whole vocabulary."""
    return (policy.exp() * (policy - reference)).sum()


def gradient_of(value: Tensor, logits: Tensor) -> Tensor:
    return torch.autograd.grad(value, logits, retain_graph=True)[0]


def expected(logits: tuple[Tensor, Tensor, Tensor], estimator: str, gradient: str) -> Tensor:
    """The penalty's mean over all tokens that could have been sampled."""
    policy, reference, old = (row.log_softmax(-1) for row in logits)
    return (old.exp() * kl_penalty(policy, reference, old, estimator, gradient)).sum()


def on_policy(logits: tuple[Tensor, Tensor, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    policy, reference, _ = logits
    return policy, reference, policy.detach()


# Values ---------------------------------------------------------------------------------------------------------------


def test_estimates_by_hand():
    """Log-ratios p - q of -ln 2, ln 2 and 0; k3 is 2 - ln 2 - 1, 0.5 + ln 2 - 1 and 0."""
    policy = torch.zeros(3, dtype=torch.float64)
    reference = torch.tensor([math.log(2), -math.log(2), 0.0], dtype=torch.float64)
    assert k1(policy, reference).tolist() == pytest.approx([-math.log(2), math.log(2), 0.0])
    assert k2(policy, reference).tolist() == pytest.approx([math.log(2) ** 2 / 2] * 2 + [0.0])
    assert k3(policy, reference).tolist() == pytest.approx([1 - math.log(2), math.log(2) - 0.5, 0.0])


@pytest.mark.parametrize(
    ("estimator", "gradient", "value", "slope"),
    [
        ("k1", "direct", 2.0, 1.0),
        ("k2", "direct", 2.0, 2.0),
        ("k3", "direct", 1 + math.exp(-2), 1 - math.exp(-2)),
        ("k1", "unbiased", 4.0, 4.0),
        ("k2", "unbiased", 4.0, 4.0),
        ("k3", "unbiased", 2 + 2 * math.exp(-2), 4.0),
    ],
)
def test_values_and_slopes_by_hand(estimator: str, gradient: str, value: float, slope: float):
    """p = -1 and q = -3; the policy that sampled gave the token half the probability, so that r = 2."""
    policy = torch.tensor(-1.0, dtype=torch.float64, requires_grad=True)
    reference, old = torch.tensor(-3.0, dtype=torch.float64), policy.detach() - math.log(2)
    found = kl_penalty(policy, reference, old, estimator, gradient)
    assert found.item() == pytest.approx(value)
    assert gradient_of(found, policy).item() == pytest.approx(slope)


@estimators
@gradients
@given(rows=st.lists(st.tuples(*[st.floats(-9, 0)] * 3), min_size=1, max_size=4))
def test_against_naive_twin(estimator: str, gradient: str, rows: list[tuple[float, float, float]]):
    policy, reference, old = (torch.tensor(column, dtype=torch.float64) for column in zip(*rows, strict=True))
    wanted = []
    for p, q, o in rows:
        estimate = {"k1": p - q, "k2": (p - q) ** 2 / 2, "k3": math.exp(q - p) - (q - p) - 1}[estimator]
        wanted.append(estimate * (math.exp(p - o) if gradient == "unbiased" else 1.0))
    found = kl_penalty(policy, reference, old, estimator, gradient)
    assert found.tolist() == pytest.approx(wanted, rel=1e-9, abs=1e-9)


@estimators
@gradients
def test_equal_log_probabilities_give_exactly_zero(estimator: str, gradient: str):
    """What masked places are filled with. No gradient either, but for k1's, which is 1 wherever it is taken."""
    policy = torch.full((2, 3), -4.0, requires_grad=True)
    found = kl_penalty(policy, policy.detach(), policy.detach(), estimator, gradient)
    assert not found.any()
    slope = gradient_of(found.sum(), policy)
    assert torch.equal(slope, torch.full_like(slope, float((estimator, gradient) == ("k1", "direct"))))


@pytest.mark.parametrize("estimator", ["k1", "k3"])
def test_the_value_is_unbiased_under_the_policy_and_with_ratios_under_another(estimator: str):
    logits = draw_logits(2)
    exact = kl(logits[0].log_softmax(-1), logits[1].log_softmax(-1)).item()
    assert expected(on_policy(logits), estimator, "direct").item() == pytest.approx(exact, rel=1e-12)
    assert expected(logits, estimator, "unbiased").item() == pytest.approx(exact, rel=1e-12)
    assert expected(logits, estimator, "direct").item() != pytest.approx(exact, rel=0.05)


def test_k3_is_never_negative_and_precise_for_small_gaps_in_single_precision():
    """``exp(gap) - gap - 1`` cancels: at a gap of 1e-3 it would be off by a tenth, at 1e-4 below zero at times."""
    gaps = torch.logspace(-9, 0.5, 2001)
    gaps = torch.cat([gaps, -gaps])
    found = k3(torch.zeros_like(gaps), gaps)
    exact = torch.expm1(gaps.double()) - gaps.double()
    assert (found >= 0).all()
    sizable = gaps.abs() > 1e-3
    assert torch.allclose(found[sizable].double(), exact[sizable], rtol=1e-3, atol=0)


@pytest.mark.parametrize(("estimator", "gradient"), [("k4", "direct"), ("k3", "exact")])
def test_unknown_names_are_refused(estimator: str, gradient: str):
    zero = torch.zeros(1)
    with pytest.raises(ValueError, match=r"direct.*k1"):
        kl_penalty(zero, zero, zero, estimator, gradient)


# Gradients ------------------------------------------------------------------------------------------------------------


@estimators
@pytest.mark.parametrize("seed", range(20))
def test_the_unbiased_gradient_is_on_average_that_of_the_kl(estimator: str, seed: int):
    """Over tokens of a policy that is neither the one trained nor the reference."""
    logits = draw_logits(seed)
    exact = gradient_of(kl(logits[0].log_softmax(-1), logits[1].log_softmax(-1)), logits[0])
    found = gradient_of(expected(logits, estimator, "unbiased"), logits[0])
    assert torch.allclose(found, exact, rtol=1e-10, atol=1e-14)


@estimators
@pytest.mark.parametrize("seed", range(20))
def test_no_direct_gradient_is_that_of_the_kl_over_tokens_of_another_policy(estimator: str, seed: int):
    """The test above would see a wrong gradient."""
    logits = draw_logits(seed)
    exact = gradient_of(kl(logits[0].log_softmax(-1), logits[1].log_softmax(-1)), logits[0])
    found = gradient_of(expected(logits, estimator, "direct"), logits[0])
    assert (found - exact).norm() > 0.1 * exact.norm()


@pytest.mark.parametrize("seed", range(5))
def test_what_the_direct_gradients_are_on_average_over_the_policys_own_tokens(seed: int):
    """k1: nothing. k2: the gradient of KL(policy || reference). k3: that of KL(reference || policy)."""
    logits = on_policy(draw_logits(seed))
    policy, reference = (row.log_softmax(-1) for row in logits[:2])
    found = {name: gradient_of(expected(logits, name, "direct"), logits[0]) for name in KL_ESTIMATORS}
    wanted, other = gradient_of(kl(policy, reference), logits[0]), gradient_of(kl(reference, policy), logits[0])
    assert found["k1"].abs().max() < 1e-15
    assert torch.allclose(found["k2"], wanted, rtol=1e-10, atol=1e-14)
    assert torch.allclose(found["k3"], other, rtol=1e-10, atol=1e-14)
    assert (found["k3"] - wanted).norm() > 0.1 * wanted.norm()
    assert (found["k1"] - wanted).norm() > 0.9 * wanted.norm()


@pytest.mark.parametrize("seed", range(5))
def test_unbiased_k3_is_its_product_with_the_ratio_differentiated_through_both(seed: int):
    """The form of DeepSeek-V3.2, token by token and not on average only."""
    logits = draw_logits(seed)
    policy, reference, old = (row.log_softmax(-1).detach() for row in logits)
    policy.requires_grad_()
    product = torch.exp(policy - old) * k3(policy, reference)
    found = kl_penalty(policy, reference, old, "k3", "unbiased")
    assert torch.equal(found, product)
    assert torch.allclose(gradient_of(found.sum(), policy), gradient_of(product.sum(), policy), rtol=1e-12, atol=1e-15)


@estimators
def test_the_direct_gradient_is_that_of_the_value(estimator: str):
    policy, reference, old = (row.log_softmax(-1).detach() for row in draw_logits(0))
    assert torch.autograd.gradcheck(
        lambda x: kl_penalty(x, reference, old, estimator, "direct"), policy.requires_grad_()
    )


@pytest.mark.parametrize(
    ("weight", "kl", "target", "expected"),
    [
        (1.0, 0.2, 0.1, 1.02),  # twice the target: at the bound
        (1.0, 0.11, 0.1, 1.01),  # a tenth above: 0.1 of it
        (0.5, 0.095, 0.1, 0.5 * 0.995),
        (0.5, 0.1, 0.1, 0.5),
        (1.0, 0.0, 0.1, 0.98),
        (1.0, -3.0, 0.1, 0.98),  # k1 may be negative
        (1.0, math.inf, 0.1, 1.02),
    ],
)
def test_the_adapted_weight_by_hand(weight: float, kl: float, target: float, expected: float):
    assert adapted_weight(weight, kl, target) == pytest.approx(expected, rel=1e-12)


@given(st.floats(1e-6, 10), st.floats(0, 100), st.floats(1e-6, 10))
def test_the_adapted_weight_moves_towards_the_target_by_two_percent_at_most(weight: float, kl: float, target: float):
    moved = adapted_weight(weight, kl, target) / weight
    assert 0.98 - 1e-9 <= moved <= 1.02 + 1e-9
    assert (moved > 1) <= (kl > target)
    assert (moved < 1) <= (kl < target)
