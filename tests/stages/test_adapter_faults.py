"""What does not fit an adapter is found before anything is run."""

import pytest

from specs_lab.models.adapters.full import FullAdapter
from specs_lab.models.adapters.lora import LoraAdapter
from specs_lab.models.sources.embedded import EmbeddedModel
from specs_lab.objectives.grpo import GRPOOptions
from specs_lab.objectives.sft import SFTOptions
from specs_lab.stages.kinds import KINDS


def _faults(kind, adapter, **sources):
    options = {"rl": GRPOOptions(), "coldstart": SFTOptions(), "adapter": adapter}
    return KINDS[kind].unfit(options, {"data": {}, **sources})


@pytest.mark.parametrize("kind", ["rl", "coldstart"])
def test_adapters_on_a_frozen_tower_are_a_fault(kind):
    frozen, free = EmbeddedModel(), EmbeddedModel(freeze_vision=False)
    (fault,) = _faults(kind, LoraAdapter(include_vision=True), model={"model": frozen})
    assert (fault.where, fault.fix) == ("adapter.include_vision", "set model.freeze_vision=false")
    assert not _faults(kind, LoraAdapter(include_vision=True), model={"model": free})
    assert not _faults(kind, LoraAdapter(), model={"model": frozen})
    assert not _faults(kind, FullAdapter(), model={"model": frozen})
    assert not _faults(kind, LoraAdapter(include_vision=True), model={"rl": GRPOOptions()})  # found on loading
