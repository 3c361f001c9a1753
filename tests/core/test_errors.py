"""Faults are collected, numbered, and say what to do."""

import pytest

from specs_lab.core.errors import EXIT_USER_ERROR, Fault, UserError, raise_faults, suggest

FAULTS = [Fault("coldstart.lr", "-1 is not positive", "give a number > 0"), Fault("data", "there is no 'x'", "use y")]


def test_every_fault_is_told_with_place_cause_and_fix_in_order():
    error = UserError(FAULTS)
    assert error.faults == tuple(FAULTS)
    assert str(error) == (
        "2 problems with the input:\n"
        "  1. coldstart.lr: -1 is not positive\n      fix: give a number > 0\n"
        "  2. data: there is no 'x'\n      fix: use y"
    )
    assert str(UserError(FAULTS[:1])).startswith("1 problem with the input:\n")


def test_an_error_without_faults_is_a_mistake_of_the_caller():
    with pytest.raises(ValueError, match="at least one fault"):
        UserError([])


def test_faults_are_raised_together_or_not_at_all():
    raise_faults([])
    with pytest.raises(UserError) as error:
        raise_faults(FAULTS)
    assert error.value.faults == tuple(FAULTS)


def test_a_suggestion_names_the_closest_and_lists_all():
    assert suggest("hybird", ["sft", "hybrid", "dpo"]) == "did you mean 'hybrid'? known: dpo, hybrid, sft"
    assert suggest("zzz", ["sft", "dpo"]) == "known: dpo, sft"


def test_user_errors_have_an_exit_code_of_their_own():
    assert EXIT_USER_ERROR not in (0, 1)
