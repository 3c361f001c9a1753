"""The optimizers run where they can, and say so where they cannot."""

import pytest
import torch

from specs_lab.core.errors import UserError
from specs_lab.core.options import InvalidOption
from specs_lab.objectives.optimisation import OPTIMIZERS, OptimiserOptions
from specs_lab.training.optimizers import make_optimizer


def _descend(name, steps=60):
    """Distance from the goal before and after some steps."""
    torch.manual_seed(0)
    goal = torch.randn(96, 64)
    weight = torch.nn.Parameter(torch.zeros(96, 64))
    optimizer = make_optimizer(OptimiserOptions(optimizer=name, lr=0.05), [weight])
    distances = []
    for _ in range(steps):
        loss = (weight - goal).square().mean()
        distances.append(float(loss.detach()))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return distances, optimizer, weight


@pytest.mark.parametrize("name", ["adamw", "adamw_8bit"])
def test_they_descend(name):
    distances, _, _ = _descend(name)
    assert distances[-1] < 0.1 * distances[0]


def test_eight_bit_states_take_a_byte_a_weight():
    _, optimizer, weight = _descend("adamw_8bit", steps=1)
    assert [optimizer.state[weight][name].dtype for name in ("state1", "state2")] == [torch.uint8] * 2


def test_paged_states_need_a_gpu():
    with pytest.raises(UserError, match="choose adamw_8bit"):
        make_optimizer(OptimiserOptions(optimizer="paged_adamw_8bit"), [torch.nn.Parameter(torch.zeros(2))])


def test_nothing_to_learn_is_told():
    with pytest.raises(UserError, match="nothing of the model learns"):
        make_optimizer(OptimiserOptions(), [])


def test_unknown_names_are_refused_and_known_ones_listed():
    with pytest.raises(InvalidOption, match="sgd") as caught:
        OptimiserOptions(optimizer="sgd")
    assert all(name in caught.value.faults[0].fix for name in OPTIMIZERS)
