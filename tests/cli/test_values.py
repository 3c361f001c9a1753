import pytest

from specs_lab.cli.composition import Composer
from specs_lab.cli.values import study_of, value_faults
from specs_lab.core.errors import UserError
from specs_lab.objectives.dpo import DPOOptions
from specs_lab.objectives.grpo import GRPOOptions


def test_a_configuration_becomes_a_study_of_real_options(known: Composer, fake_model: list[str]) -> None:
    study = study_of(known.compose([*fake_model, "coldstart=dpo", "coldstart.beta=0.3", "seed=7"]))
    assert isinstance(study.coldstart, DPOOptions)
    assert study.coldstart.beta == 0.3
    assert isinstance(study.zero, GRPOOptions)
    assert (study.zero.steps, study.rl.steps, study.seed) == (30, 25, 7)


def test_further_nodes_of_a_group_are_kept(known: Composer, fake_model: list[str]) -> None:
    study = study_of(known.compose([*fake_model, "+rl@third=dapo"]))
    assert study.extra["third"].clip_high == 0.28


def test_wrong_values_are_one_user_error(known: Composer, fake_model: list[str]) -> None:
    with pytest.raises(UserError) as caught:
        study_of(known.compose([*fake_model, "coldstart.lr=0", "rl.group_size=1"]))
    assert [fault.where for fault in caught.value.faults] == ["coldstart.lr", "rl.group_size"]


def test_a_broken_reference_is_a_fault(known: Composer, fake_model: list[str]) -> None:
    faults = value_faults(known.compose([*fake_model, "coldstart.lr=${nowhere}"]))
    assert [fault.where for fault in faults] == ["coldstart.lr"]


def test_a_faulty_node_does_not_count_as_missing_too(known: Composer, fake_model: list[str]) -> None:
    faults = value_faults(known.compose([*fake_model, "coldstart.lr=0"]))
    assert [fault.where for fault in faults] == ["coldstart.lr"]
