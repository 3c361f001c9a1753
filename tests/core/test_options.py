"""Options: registered once, known to Hydra, and checked with all faults at once."""

import math
from collections.abc import Iterator
from dataclasses import fields, is_dataclass

import pytest
from hydra.core.config_store import ConfigStore

from specs_lab.core import options as module
from specs_lab.core.options import Checks, InvalidOption, discover_options, option
from specs_lab.objectives.dpo import DPOOptions
from specs_lab.objectives.grpo import GRPOOptions
from specs_lab.objectives.hybrid import HybridOptions
from specs_lab.objectives.optimisation import OptimiserOptions
from specs_lab.objectives.sft import SFTOptions


@pytest.fixture
def shelf(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Lets a test register options without leaving them behind."""
    monkeypatch.setattr(module, "_OPTIONS", {})
    yield
    ConfigStore.instance().repo["schema"].pop("test_group", None)


@pytest.mark.usefixtures("shelf")
def test_an_option_must_be_a_dataclass_and_unique():
    class Plain:
        pass

    with pytest.raises(TypeError, match=r"Plain.* must be a dataclass"):
        option("test_group", "x")(Plain)
    assert option("test_group", "x")(OptimiserOptions) is OptimiserOptions
    with pytest.raises(ValueError, match="test_group=x is registered twice"):
        option("test_group", "x")(OptimiserOptions)
    assert "x.yaml" in ConfigStore.instance().repo["schema"]["test_group"]


def test_every_registered_option_is_a_documented_keyword_only_dataclass_with_a_schema():
    found = discover_options()
    assert {("coldstart", name) for name in ("none", "sft", "dpo", "hybrid")} <= set(found)
    assert {("rl", "grpo"), ("reward", "weighted"), ("problems", "procedural"), ("data", "self_distill")} <= set(found)
    for (group, name), cls in found.items():
        assert is_dataclass(cls)
        assert all(field.kw_only for field in fields(cls)), f"{group}={name}"
        assert f"{name}.yaml" in ConfigStore.instance().repo["schema"][group]
        documented = "\n".join(base.__doc__ or "" for base in cls.__mro__)
        assert [field.name for field in fields(cls) if f"{field.name}:" not in documented] == []


def test_discovering_twice_registers_nothing_twice():
    assert discover_options() == discover_options()


def test_checks_collect_every_fault_in_order():
    checks = (
        Checks()
        .positive("a", 0)
        .at_least("b", 1, 2)
        .share("c", 1.5)
        .one_of("d", "x", ("y", "z"))
        .that(False, "e", "what", "fix")
    )
    with pytest.raises(InvalidOption) as error:
        checks.done()
    assert [fault.where for fault in error.value.faults] == ["a", "b", "c", "d", "e"]
    assert all(fault.what and fault.fix for fault in error.value.faults)
    assert "y, z" in str(error.value)


def test_checks_pass_what_is_on_the_boundary():
    Checks().positive("a", 1e-300).at_least("b", 2, 2).share("c", 0).share("c", 1).one_of("d", "x", ("x",)).done()


@pytest.mark.parametrize("check", [Checks.positive, Checks.share, lambda c, w, v: c.at_least(w, v, 0)])
def test_not_a_number_is_never_valid(check):
    with pytest.raises(InvalidOption):
        check(Checks(), "a", math.nan).done()


@pytest.mark.parametrize("cls", [SFTOptions, DPOOptions, HybridOptions, GRPOOptions])
def test_defaults_of_every_method_are_valid_and_stay_so_when_written_out(cls: type):
    assert cls(**vars(cls())) == cls()


@pytest.mark.parametrize("cls", [SFTOptions, DPOOptions, HybridOptions, GRPOOptions])
def test_all_faults_of_a_method_are_reported_together(cls: type):
    with pytest.raises(InvalidOption) as error:
        cls(lr=0, steps=0, warmup_steps=-1, max_grad_norm=0, adam_beta1=-0.1, adam_beta2=1.5, weight_decay=-1)
    assert {fault.where for fault in error.value.faults} == {
        "lr",
        "steps",
        "warmup_steps",
        "max_grad_norm",
        "adam_beta1",
        "adam_beta2",
        "weight_decay",
    }


def test_a_method_adds_its_faults_to_the_shared_ones():
    with pytest.raises(InvalidOption) as error:
        HybridOptions(lr=0, batch_size=0, beta=0, sft_weight=-1, sft_norm="mean")
    assert [f.where for f in error.value.faults] == ["lr", "batch_size", "beta", "sft_weight", "sft_norm"]
    with pytest.raises(InvalidOption) as error:
        GRPOOptions(group_size=1, clip_low=0, loss_norm="mean", mixture=[], temperature=0)
    assert [f.where for f in error.value.faults] == ["group_size", "clip_low", "loss_norm", "temperature", "mixture"]
