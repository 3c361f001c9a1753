"""What the trainer's options do to a model that a stage loads."""

from types import SimpleNamespace

import pytest

from specs_lab.models.adapters.full import FullAdapter
from specs_lab.models.adapters.lora import LoraAdapter
from specs_lab.models.setup import ModelSetup
from specs_lab.stages.common import load_model
from specs_lab.stages.store import Store
from specs_lab.training.options.trainer import TrainerOptions


@pytest.fixture
def load(toy_vlm, tmp_path):
    toy_vlm.save(tmp_path / "model")
    messages = []

    def run(adapter=None, setup=None, **options):
        (setup or toy_vlm.setup).write(tmp_path)
        context = SimpleNamespace(
            options={"trainer": TrainerOptions(**options)},
            inputs={"model": tmp_path},
            store=Store(tmp_path),
            seed=0,
            name="final",
            progress=SimpleNamespace(message=messages.append),
        )
        return load_model(context, "model", adapter=adapter), messages  # pyright: ignore[reportArgumentType]

    return run


def test_prompts_are_shared_unless_told_otherwise(load):
    vlm, messages = load()
    assert vlm.shares_prompts
    assert not load(share_prompts=False)[0].shares_prompts
    assert not messages


def test_who_wants_sharing_and_cannot_have_it_is_told(load, monkeypatch):
    monkeypatch.setattr("specs_lab.models.families.FAMILIES", ())
    vlm, messages = load()
    assert not vlm.shares_prompts
    (message,) = messages
    assert "qwen2_5_vl are not known" in message


def test_checkpointing_and_the_bound_of_the_feature_cache(load):
    vlm, _ = load(gradient_checkpointing=True, feature_cache_mb=3)
    assert vlm.family.text_model.gradient_checkpointing
    assert vlm.features.limit_bytes == 3 << 20
    assert not load()[0].family.text_model.gradient_checkpointing


@pytest.mark.parametrize(
    ("adapter", "setup", "idle"),
    [
        (LoraAdapter(rank=2), {}, []),
        (LoraAdapter(rank=2), {"freeze_projector": False}, ["projector"]),
        (LoraAdapter(rank=2), {"freeze_vision": False, "freeze_projector": False}, ["vision tower", "projector"]),
        (LoraAdapter(rank=2, include_vision=True), {"freeze_vision": False}, []),
        (FullAdapter(), {"freeze_projector": False}, []),
    ],
)
def test_a_part_that_may_learn_and_has_no_adapter_is_told(load, adapter, setup, idle):
    _, messages = load(adapter, ModelSetup(**setup))
    assert [f"the {part} is not frozen" in message for part, message in zip(idle, messages, strict=True)] == [
        True for _ in idle
    ]
