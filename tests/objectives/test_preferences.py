"""Losses of a pair against loops over floats, worked values, and what their papers promise."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from specs_lab.objectives.preferences import PAIR_LOSSES, SMOOTHED_LOSSES, pair_losses

kinds = pytest.mark.parametrize("kind", PAIR_LOSSES)
smoothed = pytest.mark.parametrize("kind", SMOOTHED_LOSSES)
GAPS = st.lists(st.floats(-300, 300), min_size=1, max_size=5)


def softplus(x: float) -> float:
    """log(1 + exp(x)), written so that large x do not overflow."""
    return math.log1p(math.exp(-abs(x))) + max(x, 0.0)


def naive(gap: float, kind: str, beta: float, smoothing: float) -> float:
    score = beta * gap
    match kind:
        case "ipo":
            return (gap - 0.5 / beta) ** 2
        case "hinge":
            return max(0.0, 1 - score)
        case "robust":
            share = 1 - 2 * smoothing
            return (1 - smoothing) / share * softplus(-score) - smoothing / share * softplus(score)
        case _:
            return (1 - smoothing) * softplus(-score) + smoothing * softplus(score)


@kinds
@given(gaps=GAPS, beta=st.sampled_from([0.05, 0.1, 1.0, 2.5]), smoothing=st.sampled_from([0.0, 0.1, 0.4]))
def test_against_naive_twin(kind: str, gaps: list[float], beta: float, smoothing: float):
    found = pair_losses(torch.tensor(gaps, dtype=torch.float64), kind, beta, smoothing)
    assert found.tolist() == pytest.approx([naive(gap, kind, beta, smoothing) for gap in gaps], rel=1e-9, abs=1e-12)


@pytest.mark.parametrize(
    ("kind", "smoothing", "loss"),
    [
        ("sigmoid", 0.0, 0.474077),
        ("sigmoid", 0.1, 0.524077),
        ("hinge", 0.0, 0.5),
        ("ipo", 0.0, 0.0),
        ("robust", 0.0, 0.474077),
        ("robust", 0.1, 0.411577),
    ],
)
def test_worked_by_hand(kind: str, smoothing: float, loss: float):
    """A gap of 5 with beta 0.1; log(1 + exp(-0.5)) = 0.474077, log(1 + exp(0.5)) = 0.974077."""
    found = pair_losses(torch.tensor([5.0], dtype=torch.float64), kind, 0.1, smoothing)
    assert found.item() == pytest.approx(loss, abs=1e-6)


@kinds
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_the_gradient_is_that_of_the_value(kind: str, smoothing: float):
    gap = torch.tensor([-30.0, -1.0, 0.0, 2.0, 9.0, 11.0, 40.0], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: pair_losses(x, kind, 0.1, smoothing), gap)


@pytest.mark.parametrize(
    ("kind", "smoothing", "slope"),
    [("sigmoid", 0, -0.05), ("sigmoid", 0.1, -0.04), ("hinge", 0, -0.1), ("ipo", 0, -10), ("robust", 0.1, -0.0625)],
)
def test_the_slope_at_the_start_by_hand(kind: str, smoothing: float, slope: float):
    """With beta 0.1: -beta / 2, smoothed times 1 - 2e, robust divided by it; hinge -beta; ipo -1 / beta."""
    gap = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    (found,) = torch.autograd.grad(pair_losses(gap, kind, 0.1, smoothing).sum(), gap)
    assert found.item() == pytest.approx(slope)


@given(GAPS, st.sampled_from([0.05, 0.2, 0.45]))
def test_robust_is_on_average_over_swapped_labels_the_loss_of_the_true_labels(gaps: list[float], share: float):
    gap = torch.tensor(gaps, dtype=torch.float64)
    average = (1 - share) * pair_losses(gap, "robust", 0.1, share) + share * pair_losses(-gap, "robust", 0.1, share)
    assert torch.allclose(average, pair_losses(gap, "sigmoid", 0.1), rtol=1e-9, atol=1e-10)


def test_conservative_dpo_is_content_with_a_probability_of_one_minus_the_smoothing():
    best = torch.tensor([math.log(0.9 / 0.1) / 0.1], dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(pair_losses(best, "sigmoid", 0.1, 0.1).sum(), best)
    assert slope.item() == pytest.approx(0, abs=1e-15)


@smoothed
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_exactly_ln_2_without_gap_and_smoothing(kind: str, dtype: torch.dtype):
    assert torch.equal(pair_losses(torch.zeros(3, dtype=dtype), kind, 0.3), torch.full((3,), math.log(2), dtype=dtype))


@kinds
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_huge_gaps_stay_finite(kind: str, smoothing: float):
    gap = torch.tensor([-1e6, 1e6, 0.0], requires_grad=True)
    losses = pair_losses(gap, kind, 0.1, smoothing)
    (slope,) = torch.autograd.grad(losses.sum(), gap)
    assert torch.isfinite(losses).all()
    assert torch.isfinite(slope).all()


@pytest.mark.parametrize("kind", ["ipo", "hinge"])
def test_the_others_know_no_smoothing(kind: str):
    gap = torch.tensor([-3.0, 4.0])
    assert torch.equal(pair_losses(gap, kind, 0.1, 0.4), pair_losses(gap, kind, 0.1))


def test_an_unknown_kind_is_named_with_those_that_exist():
    with pytest.raises(ValueError, match="no loss 'log'; choose one of: sigmoid, ipo, hinge, robust"):
        pair_losses(torch.zeros(1), "log", 0.1)
