"""What work costs, by the usual rule: 2 FLOPs a parameter and token forwards, 4 more backwards."""

import time

import pytest

from specs_lab.core.budget import Budget


def test_costs_worked_by_hand():
    """10 parameters: 3 tokens forwarded cost 60 FLOPs, 5 trained 300, and 4 prompt and 6 sampled tokens 200."""
    budget = Budget(parameters=10)
    budget.forward(3)
    assert (budget.tokens, budget.flops) == (3, 60)
    budget.train(5)
    assert (budget.tokens, budget.flops) == (8, 360)
    budget.sample(4, 6)
    assert (budget.tokens, budget.flops, budget.generated_tokens) == (18, 560, 6)


def test_a_frozen_parameter_needs_no_gradient_of_its_own():
    """Of 10 parameters 4 are frozen: a trained token costs 6 * 10 - 2 * 4 FLOPs, a forwarded one as ever."""
    budget = Budget(parameters=10, frozen=4)
    budget.train(5)
    assert (budget.tokens, budget.flops) == (5, 260)
    budget.forward(1)
    assert budget.flops == 280


def test_the_clock_adds_up_and_stops_on_failure():
    budget = Budget()
    with budget.clock():
        time.sleep(0.01)
    first = budget.seconds
    with pytest.raises(RuntimeError), budget.clock():  # noqa: PT012
        time.sleep(0.01)
        raise RuntimeError
    assert first >= 0.01
    assert budget.seconds >= first + 0.01
