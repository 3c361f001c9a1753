"""Who normalises: sums over micro-batches, divided once by counts over the whole step."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from specs_lab.objectives.terms import Loss, Term


def scalar(value: float) -> torch.Tensor:
    return torch.tensor(value, dtype=torch.float64)


def test_worked_by_hand():
    """2 * 12 / 4 tokens + 0.5 * 6 / 3 sequences = 7."""
    loss = Loss([Term(scalar(12), "token", 2.0), Term(scalar(6), "sequence", 0.5)])
    assert loss.normalised({"token": 4, "sequence": 3}).item() == 7.0


def test_capacity_by_hand_and_units_in_use_are_enough():
    """The 6 of two responses that could have had 4 tokens each: 6 / 8, however many tokens there are."""
    assert Loss([Term(scalar(6), "capacity")]).normalised({"capacity": 8}).item() == 0.75
    both = Loss([Term(scalar(6), "capacity"), Term(scalar(3), "sequence", 0.5)])
    assert both.normalised({"capacity": 8, "sequence": 2}).item() == 1.5


def test_a_unit_in_use_without_a_count_is_a_mistake_of_the_caller():
    with pytest.raises(KeyError, match="capacity"):
        Loss([Term(scalar(6), "capacity")]).normalised({"token": 8})


def test_a_count_of_zero_gives_zero_not_nan():
    total = scalar(0).requires_grad_()
    value = Loss([Term(total, "token"), Term(total, "sequence")]).normalised({"token": 0, "sequence": 0})
    assert value.item() == 0
    (gradient,) = torch.autograd.grad(value, total)
    assert torch.isfinite(gradient)


@given(st.lists(st.tuples(st.floats(-10, 10), st.integers(1, 9)), min_size=2, max_size=8), st.data())
def test_the_split_into_micro_batches_does_not_matter(rows: list[tuple[float, int]], data: st.DataObject):
    """A mean of micro-batch means would depend on it, as rows differ in length."""
    tokens = sum(length for _, length in rows)
    cut = data.draw(st.integers(1, len(rows) - 1))

    def summed(part: list[tuple[float, int]]) -> Loss:
        return Loss([Term(scalar(sum(mean * length for mean, length in part)), "token")])

    counts = {"token": float(tokens), "sequence": float(len(rows))}
    whole = summed(rows).normalised(counts)
    split = summed(rows[:cut]).normalised(counts) + summed(rows[cut:]).normalised(counts)
    assert split.item() == pytest.approx(whole.item(), rel=1e-12, abs=1e-12)
