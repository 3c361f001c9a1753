"""What stages will write, as far as it can be told."""

from specs_lab.models.sources.embedded import EmbeddedModel
from specs_lab.preflight.device import memory_of
from specs_lab.preflight.needs import Shapes, needs
from specs_lab.stages.graph import plan


class Named(EmbeddedModel):
    """As a commit of the hub: its content has a name, and its files never change."""

    def identity(self):
        return {"commit": "abc"}


def _weights(study, kind: str) -> int:
    found = needs(study, plan(study), memory_of(study.trainer), Shapes())
    return sum(need.weights_on_disk for need in found if need.kind == kind)


def test_a_copied_base_takes_room_and_a_linked_one_none(study):
    copied, linked = study(), study()
    linked.model = Named(size="tiny", base_seed=0)
    assert _weights(copied, "base") > 1 << 20
    assert _weights(linked, "base") == 0
    assert _weights(linked, "rl") == _weights(copied, "rl") > 1 << 20


def test_adapters_are_small(study):
    assert 0 < _weights(study("adapter=lora", "adapter.rank=1"), "rl") < _weights(study(), "rl") / 10
