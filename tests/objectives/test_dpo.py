"""Direct preference optimisation and its variants against loops over floats and worked values."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from specs_lab.core.options import InvalidOption
from specs_lab.objectives.dpo import DPOOptions, PairLogps, dpo_loss
from specs_lab.objectives.preferences import PAIR_LOSSES

LOGPS = st.lists(
    st.tuples(*[st.floats(-200, 0)] * 4, *[st.integers(0, 9)] * 2), min_size=1, max_size=5
)  # policy chosen, rejected; reference chosen, rejected; lengths chosen, rejected
DPO = DPOOptions()


def pairs_of(rows: list[tuple[float, ...]], dtype: torch.dtype = torch.float64) -> PairLogps:
    """Rows of four log-probabilities and, if given, two lengths."""
    columns = list(zip(*[(*row, 1, 1)[:6] for row in rows], strict=True))
    logps = [torch.tensor(column, dtype=dtype) for column in columns[:4]]
    return PairLogps(*logps, *(torch.tensor(column) for column in columns[4:]))


def counts(pairs: PairLogps) -> dict:
    return {"sequence": float(len(pairs.policy_chosen))}


def naive(rows: list[tuple[float, ...]], options: DPOOptions) -> float:
    """Mean of log(1 + exp(-margin)), pair by pair; written so that large margins do not overflow."""
    total = 0.0
    for policy_chosen, policy_rejected, reference_chosen, reference_rejected, *lengths in rows:
        if options.reference_free:
            reference_chosen = reference_rejected = 0.0
        chosen, rejected = policy_chosen - reference_chosen, policy_rejected - reference_rejected
        if options.length_normalised:
            chosen, rejected = chosen / max(lengths[0], 1), rejected / max(lengths[1], 1)
        margin = options.beta * (chosen - rejected) - options.margin
        total += math.log1p(math.exp(-abs(margin))) + max(-margin, 0.0)
    return total / len(rows)


@given(LOGPS, st.sampled_from([0.05, 0.1, 1.0]), st.booleans(), st.booleans(), st.sampled_from([0.0, 0.5]))
def test_against_naive_twin(
    rows: list[tuple[float, ...]], beta: float, normalised: bool, reference_free: bool, margin: float
):
    options = DPOOptions(beta=beta, length_normalised=normalised, reference_free=reference_free, margin=margin)
    pairs = pairs_of(rows)
    found = dpo_loss(pairs, options).normalised(counts(pairs)).item()
    assert found == pytest.approx(naive(rows, options), rel=1e-9, abs=1e-12)


def test_worked_by_hand():
    """Chosen rises by 2, rejected falls by 3, beta 0.1: margin 0.5, loss log(1 + e^-0.5) = 0.474077."""
    pairs = pairs_of([(-10.0, -23.0, -12.0, -20.0)])
    loss = dpo_loss(pairs, DPO)
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


def test_the_variants_by_hand():
    """The same pair with lengths 4 and 2: averaged log-ratios 0.5 and -1.5, their gap 2."""
    pairs = pairs_of([(-10.0, -23.0, -12.0, -20.0, 4, 2)])

    def value(**settings) -> float:
        return dpo_loss(pairs, DPOOptions(**settings)).normalised(counts(pairs)).item()

    assert value(loss="ipo") == pytest.approx(0.0)
    assert value(loss="ipo", length_normalised=True) == pytest.approx(9.0)  # (2 - 5)^2
    assert value(loss="hinge") == pytest.approx(0.5)
    assert value(loss="hinge", margin=0.2) == pytest.approx(0.7)  # 1 - (0.5 - 0.2)
    assert value(loss="sigmoid", margin=0.5) == pytest.approx(math.log(2))
    assert value(loss="sigmoid", length_normalised=True) == pytest.approx(math.log1p(math.exp(-0.2)))
    assert value(loss="sigmoid", label_smoothing=0.1) == pytest.approx(0.524077, abs=1e-6)
    assert value(loss="robust", label_smoothing=0.1) == pytest.approx(0.411577, abs=1e-6)
    assert value(reference_free=True) == pytest.approx(math.log1p(math.exp(-1.3)))  # 0.1 * (-10 + 23)


def test_simpo_is_its_papers_formula_and_looks_at_no_reference():
    """-log sigmoid(beta / |yw| log p(yw) - beta / |yl| log p(yl) - gamma), averaged over pairs."""
    options = DPOOptions(beta=2.0, margin=1.0, length_normalised=True, reference_free=True)
    rows = [(-4.0, -9.0, 8, 6), (-7.0, -1.0, 3, 2), (-2.0, -2.5, 1, 5)]
    expected = 0.0
    for chosen, rejected, chosen_length, rejected_length in rows:
        margin = 2.0 / chosen_length * chosen - 2.0 / rejected_length * rejected - 1.0
        expected -= math.log(1 / (1 + math.exp(-margin))) / 3
    unknown = math.nan
    pairs = pairs_of([(chosen, rejected, unknown, unknown, *lengths) for chosen, rejected, *lengths in rows])
    chosen = pairs.policy_chosen.requires_grad_()
    loss = dpo_loss(pairs, options)
    assert loss.normalised(counts(pairs)).item() == pytest.approx(expected, rel=1e-12)
    assert loss.metrics["reward_chosen"].item() == pytest.approx(2 * (-4 / 8 - 7 / 3 - 2 / 1))
    (slope,) = torch.autograd.grad(loss.normalised(counts(pairs)), chosen)
    assert torch.isfinite(slope).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("loss", ["sigmoid", "robust"])
@pytest.mark.parametrize("normalised", [False, True])
def test_the_loss_is_exactly_ln_2_while_the_policy_is_the_reference(dtype: torch.dtype, loss: str, normalised: bool):
    generator = torch.Generator().manual_seed(0)
    chosen, rejected = (-50 * torch.rand(7, generator=generator, dtype=dtype) for _ in range(2))
    lengths = torch.arange(7)
    pairs = PairLogps(chosen, rejected, chosen.clone(), rejected.clone(), lengths, lengths.flip(0))
    found = dpo_loss(pairs, DPOOptions(loss=loss, length_normalised=normalised))
    each = found.metrics["dpo_loss"] / 7
    assert torch.equal(each, torch.tensor(math.log(2), dtype=dtype))
    assert found.metrics["reward_margin"].item() == found.metrics["reward_accuracy"].item() == 0


def test_the_gradient_pushes_the_sides_apart_and_is_that_of_the_value():
    """At the start it is beta / 2 for each pair, up for chosen and down for rejected."""
    columns = [torch.tensor([-3.0, -9.0], dtype=torch.float64, requires_grad=True) for _ in range(2)]
    rest = [*(column.detach().clone() for column in columns), torch.ones(2), torch.ones(2)]

    def value(chosen: torch.Tensor, rejected: torch.Tensor) -> torch.Tensor:
        return dpo_loss(PairLogps(chosen, rejected, *rest), DPO).normalised({"sequence": 2.0})

    assert torch.autograd.gradcheck(value, columns)
    chosen, rejected = torch.autograd.grad(value(*columns), columns)
    assert torch.allclose(chosen, torch.full_like(chosen, -0.1 / 2 / 2))
    assert torch.equal(rejected, -chosen)


@pytest.mark.parametrize("loss", PAIR_LOSSES)
def test_the_gradient_of_every_variant_is_that_of_its_value(loss: str):
    """Lengths are 0, 1 and 5 tokens; a pair's gradient is divided by them."""
    margin = 0.0 if loss == "ipo" else 0.3
    options = DPOOptions(loss=loss, length_normalised=True, margin=margin)
    columns = [torch.tensor([-3.0, -9.0, -4.0], dtype=torch.float64, requires_grad=True) for _ in range(2)]
    lengths = torch.tensor([0, 1, 5])
    rest = [torch.tensor([-3.5, -8.0, -4.0]), torch.tensor([-2.0, -9.5, -4.0]), lengths, lengths.flip(0)]

    def value(chosen: torch.Tensor, rejected: torch.Tensor) -> torch.Tensor:
        return dpo_loss(PairLogps(chosen, rejected, *rest), options).normalised({"sequence": 3.0})

    assert torch.autograd.gradcheck(value, columns)
    chosen, rejected = torch.autograd.grad(value(*columns), columns)
    assert torch.allclose(chosen * lengths.clamp(min=1), -rejected * lengths.flip(0).clamp(min=1), rtol=1e-12)


@pytest.mark.parametrize("loss", PAIR_LOSSES)
@pytest.mark.parametrize("size", [1, 2, 3])
def test_micro_batches_do_not_matter(size: int, loss: str):
    generator = torch.Generator().manual_seed(1)
    columns = [-20 * torch.rand(5, generator=generator, dtype=torch.float64) for _ in range(4)]
    columns += [torch.randint(0, 9, (5,), generator=generator) for _ in range(2)]
    whole = PairLogps(*columns)
    options = DPOOptions(loss=loss, length_normalised=True)
    parts = [PairLogps(*part) for part in zip(*(column.split(size) for column in columns), strict=True)]
    summed = sum(dpo_loss(part, options).normalised(counts(whole)).item() for part in parts)
    assert summed == pytest.approx(dpo_loss(whole, options).normalised(counts(whole)).item(), rel=1e-12)


def test_huge_margins_and_empty_responses_stay_finite():
    """An empty response has log-probability 0 under both models."""
    rows = [(0.0, 0.0, 0.0, 0.0, 0, 0), (-1e5, 0.0, 0.0, -1e5, 9, 0), (0.0, -1e5, -1e5, 0.0, 0, 9)]
    pairs = pairs_of(rows, torch.float32)
    chosen = pairs.policy_chosen.requires_grad_()
    loss = dpo_loss(pairs, DPO).normalised(counts(pairs))
    (gradient,) = torch.autograd.grad(loss, chosen)
    assert loss.item() == pytest.approx((math.log(2) + 20000.0) / 3)
    assert torch.isfinite(gradient).all()
    for kind in PAIR_LOSSES:
        options = DPOOptions(loss=kind, length_normalised=True)
        (gradient,) = torch.autograd.grad(dpo_loss(pairs, options).normalised(counts(pairs)), chosen)
        assert torch.isfinite(gradient).all()


def test_a_tie_is_no_success():
    pairs = pairs_of([(-1.0, -1.0, -1.0, -1.0), (-1.0, -2.0, -1.0, -1.0), (-2.0, -1.0, -1.0, -1.0)])
    assert dpo_loss(pairs, DPO).metrics["reward_accuracy"].item() == 1


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        ({"beta": 0.0}, "beta"),
        ({"loss": "log"}, "loss"),
        ({"label_smoothing": 0.5}, "label_smoothing"),
        ({"label_smoothing": -0.1}, "label_smoothing"),
        ({"label_smoothing": 0.1, "loss": "ipo"}, "label_smoothing"),
        ({"label_smoothing": 0.1, "loss": "hinge"}, "label_smoothing"),
        ({"margin": -1.0}, "margin"),
    ],
)
def test_each_wrong_value_is_reported_with_its_field(settings: dict, field: str):
    with pytest.raises(InvalidOption) as error:
        DPOOptions(**settings)
    assert [fault.where for fault in error.value.faults] == [field]


def test_wrong_values_are_reported_together():
    with pytest.raises(InvalidOption) as error:
        DPOOptions(beta=-1, loss="log", label_smoothing=0.7, margin=-1)
    assert [fault.where for fault in error.value.faults] == ["beta", "loss", "label_smoothing", "margin"]


def test_ipo_refuses_a_margin_that_it_would_not_mean():
    with pytest.raises(InvalidOption, match="margin"):
        DPOOptions(loss="ipo", margin=0.3)
