"""Chains of adapters: composed into the model that the last one was trained as, and refused when a link is broken."""

import json
from types import SimpleNamespace

import pytest
import torch
from torch.testing import assert_close

from specs_lab.core.errors import UserError
from specs_lab.core.progress import Progress
from specs_lab.models.adapters.dora import DoraAdapter
from specs_lab.models.adapters.full import FullAdapter
from specs_lab.models.adapters.lora import LoraAdapter
from specs_lab.models.adapters.qlora import QLoraAdapter
from specs_lab.models.setup import ModelSetup
from specs_lab.stages.chain import ADAPTER, BASE, MODEL, chain, merged_vlm
from specs_lab.stages.common import load_model, save_model
from specs_lab.stages.store import Store
from specs_lab.training.options.trainer import TrainerOptions


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "cache")


@pytest.fixture
def make_base(store, toy_vlm):
    """The artifact of a whole model."""

    def make(key="base", setup=None):
        def build(folder):
            toy_vlm.save(folder / MODEL)
            (setup or ModelSetup()).write(folder)

        return store.make("base", key, build, {})[0]

    return make


@pytest.fixture
def train(store):
    """A stage that trains an adapter at random; returns its artifact, and the model as it was at the end."""

    def run(key, source, adapter, **trainer):
        made = {}

        def build(folder):
            context = SimpleNamespace(
                options={"trainer": TrainerOptions(**trainer), "adapter": adapter},
                inputs={"model": source},
                folder=folder,
                store=store,
                seed=0,
                name=key,
                progress=Progress(),
            )
            made["vlm"] = load_model(context, "model", adapter=adapter)
            made["start"] = {n: p.detach().clone() for n, p in made["vlm"].core.named_parameters()}
            generator = torch.Generator().manual_seed(len(key))
            for parameter in made["vlm"].parameters():
                if parameter.requires_grad:
                    parameter.data += 0.02 * torch.randn(parameter.shape, generator=generator)
            save_model(made["vlm"], context)

        return store.make("coldstart", key, build, {})[0], made["vlm"]

    return run


def _logprobs(vlm, rows):
    with vlm.inference():
        return vlm.logprobs(rows).logprobs


def test_a_chain_of_adapters_is_the_model_that_the_last_was_trained_as(make_base, train, store, toy_rows):
    folder = make_base()
    for number, adapter in enumerate([LoraAdapter(rank=4), QLoraAdapter(rank=4), DoraAdapter(rank=4)]):
        folder, vlm = train(f"stage{number}", folder, adapter)
        assert not (folder / MODEL).exists()
        merged = merged_vlm(folder, store.cache)
        assert not merged.has_adapter
        assert (_logprobs(merged, toy_rows) - _logprobs(vlm, toy_rows)).abs().max() <= 2e-5
    base, links = chain(folder, store.cache)
    assert base.name == "base"
    assert [link.artifact.name for link in links] == ["stage0", "stage1", "stage2"]
    assert [link.holding.four_bit for link in links] == [False, True, False]


def test_full_training_on_top_of_a_chain_ends_it(make_base, train, store, toy_rows):
    folder, _ = train("adapter", make_base(), LoraAdapter(rank=4))
    folder, vlm = train("whole", folder, FullAdapter())
    assert (folder / MODEL).is_dir()
    assert not (folder / ADAPTER).exists()
    assert not (folder / BASE).exists()
    assert_close(_logprobs(merged_vlm(folder, store.cache), toy_rows), _logprobs(vlm, toy_rows), atol=0, rtol=0)


def test_a_stage_that_trains_starts_from_the_merged_model(make_base, train, store, toy_rows):
    first, vlm = train("first", make_base(), LoraAdapter(rank=4))
    context = SimpleNamespace(
        options={"trainer": TrainerOptions(gradient_checkpointing=True)},
        inputs={"model": first},
        store=store,
        seed=0,
        name="second",
        progress=Progress(),
    )
    second = load_model(context, "model", adapter=LoraAdapter(rank=2))
    assert (_logprobs(second, toy_rows) - _logprobs(vlm, toy_rows)).abs().max() <= 1e-5
    assert second.family.text_model.gradient_checkpointing
    assert load_model(context, "model").model.training is False


def test_settings_are_handed_on(make_base, train, store):
    setup = ModelSetup(dtype="bfloat16", max_pixels=50_000)
    folder, vlm = train("adapter", make_base(setup=setup), LoraAdapter(rank=4))
    assert ModelSetup.read(folder) == vlm.setup == merged_vlm(folder, store.cache).setup == setup
    assert {p.dtype for p in merged_vlm(folder, store.cache).parameters()} == {torch.bfloat16}
    trained = merged_vlm(folder, store.cache, adapter=FullAdapter())
    assert {p.dtype for p in trained.parameters() if p.requires_grad} == {torch.float32}


def test_an_artifact_of_an_adapter_names_no_place(make_base, train, store):
    folder, _ = train("adapter", make_base(), QLoraAdapter(rank=4))
    record = json.loads((folder / BASE).read_text())
    assert (record["kind"], record["key"]) == ("base", "base")
    assert record["holding"]["four_bit"]
    for path in (folder / BASE, folder / ADAPTER / "adapter_config.json"):
        assert str(store.cache) not in path.read_text()
    assert sorted(path.name for path in folder.iterdir()) == [ADAPTER, BASE, "manifest.json", "setup.json"]


def test_a_base_that_is_gone_is_told(make_base, train, store):
    base = make_base()
    folder, _ = train("adapter", base, LoraAdapter(rank=4))
    base.rename(base.with_name("elsewhere"))
    with pytest.raises(UserError, match=r"base/base, is not in"):
        merged_vlm(folder, store.cache)


@pytest.mark.parametrize("broken", ["base", "adapter"])
def test_a_link_that_was_changed_is_refused(make_base, train, store, broken):
    base = make_base()
    folder, _ = train("adapter", base, LoraAdapter(rank=4))
    path = base / MODEL / "config.json" if broken == "base" else folder / ADAPTER / "adapter_config.json"
    path.write_text(path.read_text() + "\n")
    with pytest.raises(UserError, match="is not as it was made"):
        merged_vlm(folder, store.cache)
