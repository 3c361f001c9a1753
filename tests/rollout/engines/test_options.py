"""What of the choice of an engine is in a stage's key, and what it cannot serve."""

from dataclasses import replace

import pytest

from specs_lab.models.adapters.dora import DoraAdapter
from specs_lab.models.adapters.lora import LoraAdapter
from specs_lab.models.adapters.qlora import QLoraAdapter
from specs_lab.rollout.options.inprocess import InProcessRollout
from specs_lab.rollout.options.vllm import VllmRollout
from specs_lab.rollout.options.vllm_colocated import VllmColocatedRollout
from specs_lab.stages.context import Study
from specs_lab.stages.graph import stage_key
from specs_lab.stages.kinds import KINDS
from specs_lab.stages.options.recipe import Paths, Recipe
from specs_lab.training.options.trainer import TrainerOptions


def _key(rollout) -> str:
    return stage_key(KINDS["rl"], {"rollout": rollout}, 0, {})


@pytest.mark.parametrize(
    "given",
    [
        {"python": "/elsewhere/python"},
        {"url": "http://localhost:8000"},
        {"max_concurrent": 3},
        {"port": 5},
        {"args": ["--enforce-eager"]},
        {"parity_tolerance": 1.0},
        {"timeout_s": 7.0},
    ],
)
def test_where_and_how_fast_a_server_works_is_not_in_the_key(given) -> None:
    assert _key(VllmRollout(**given)) == _key(VllmRollout())


@pytest.mark.parametrize("given", [{"importance_cap": 3.0}, {"ahead": 1}, {"dtype": "bfloat16"}, {"sync_every": 2}])
def test_what_changes_results_is_in_the_key(given) -> None:
    assert _key(replace(VllmRollout(), **given)) != _key(VllmRollout())


def test_kinds_of_engines_have_keys_of_their_own() -> None:
    assert len({_key(kind()) for kind in (InProcessRollout, VllmRollout, VllmColocatedRollout)}) == 3


def test_a_study_samples_in_its_own_process_unless_told_otherwise() -> None:
    assert isinstance(Study(recipe=Recipe(), paths=Paths()).rollout, InProcessRollout)


@pytest.mark.parametrize(
    ("adapter", "where"),
    [
        (QLoraAdapter(), "adapter"),
        (DoraAdapter(), "adapter"),
        (LoraAdapter(include_vision=True), "adapter.include_vision"),
    ],
)
def test_adapters_that_a_server_cannot_hold_are_faults(adapter, where) -> None:
    assert [fault.where for fault in VllmRollout().misfits({"adapter": adapter})] == [where]
    assert InProcessRollout().misfits({"adapter": adapter}) == []
    assert VllmRollout().misfits({"adapter": LoraAdapter()}) == []


def test_several_training_processes_cannot_share_a_server() -> None:
    several = {"trainer": TrainerOptions(strategy="fsdp2", devices=2)}
    assert [fault.where for fault in VllmRollout().misfits(several)] == ["rollout"]
    assert InProcessRollout().misfits(several) == []


def test_an_adapter_and_a_sleep_that_drops_its_base_do_not_fit() -> None:
    faults = VllmColocatedRollout(sleep_level=2).misfits({"adapter": LoraAdapter()})
    assert [fault.where for fault in faults] == ["rollout.sleep_level"]
    assert VllmColocatedRollout(sleep_level=1).misfits({"adapter": LoraAdapter()}) == []
