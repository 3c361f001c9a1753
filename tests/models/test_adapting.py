"""Adapters of every kind on every family: they start as nothing, learn alone, and merge into what they learned."""

import copy
import importlib.util
import json
import sys
from pathlib import Path

import pytest
import torch
from bitsandbytes.functional import dequantize_4bit
from peft import PeftModel
from PIL import Image
from torch.testing import assert_close

from specs_lab.core.errors import UserError
from specs_lab.models.adapters.base import Adapter
from specs_lab.models.adapters.dora import DoraAdapter
from specs_lab.models.adapters.full import FullAdapter
from specs_lab.models.adapters.lora import LoraAdapter
from specs_lab.models.adapters.qlora import QLoraAdapter
from specs_lab.models.adapting import merge_adapter, target_pattern, write_adapter
from specs_lab.models.prompts import Row
from specs_lab.models.reference import make_reference, sequence_logps
from specs_lab.models.reference_cache import reference_fingerprint
from specs_lab.models.setup import ModelSetup
from specs_lab.models.vlm import VLM

_SPEC = importlib.util.spec_from_file_location("tiny_checkpoints", Path(__file__).with_name("tiny_checkpoints.py"))
tiny_checkpoints = sys.modules.setdefault("tiny_checkpoints", importlib.util.module_from_spec(_SPEC))
_SPEC.loader.exec_module(tiny_checkpoints)

# PEFT reads a name that transformers has deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")

EXACT = 1e-5
ADAPTERS: dict[str, Adapter] = {
    "lora": LoraAdapter(rank=4),
    "dora": DoraAdapter(rank=4),
    "qlora": QLoraAdapter(rank=4),
    "qlora, single": QLoraAdapter(rank=4, alpha=8, double_quant=False, rslora=True, init="gaussian"),
}
BF16 = ModelSetup(dtype="bfloat16")
every_family = pytest.mark.parametrize("family", tiny_checkpoints.RECIPES)
every_adapter = pytest.mark.parametrize("adapter", ADAPTERS.values(), ids=ADAPTERS)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    place = tmp_path_factory.mktemp("tiny")
    return {name: tiny_checkpoints.tiny_checkpoint(name, place / name) for name in tiny_checkpoints.RECIPES}


@pytest.fixture
def load(folders):
    def load(family, adapter=None, **options):
        vlm = VLM.load(folders[family], **options)
        if adapter is not None:
            adapter.attach(vlm, seed=3)
        return vlm

    return load


def _rows(vlm):
    """A group behind a picture, one behind a larger one, and one without a picture."""
    pictures = [[Image.new("RGB", (32, 32), "red")], [Image.new("RGB", (48, 32), "blue")], []]
    prompts = vlm.encode_prompts(["What is it?", "And this, here?", "1 + 1 ="], pictures, ["a", "b", "c"])
    texts = [["it is red", "no"], ["blue"], ["2", "3 or so"]]
    return [
        Row(prompt, ids) for prompt, some in zip(prompts, texts, strict=True) for ids in vlm.encode_completions(some)
    ]


def _logprobs(vlm, rows):
    with vlm.inference():
        return vlm.logprobs(rows).logprobs


def _learn(vlm, scale=0.05):
    """Moves everything that learns, as training would, but at random."""
    generator = torch.Generator().manual_seed(0)
    for _, parameter in sorted(vlm.named_parameters()):
        if parameter.requires_grad:
            parameter.data += scale * torch.randn(parameter.shape, generator=generator)


def _gradients(vlm, rows):
    vlm.zero_grad(set_to_none=True)
    scored = vlm.logprobs(rows).logprobs
    (scored * torch.linspace(-1, 1, scored.numel()).view_as(scored)).sum().backward()
    return {name: p.grad.clone() for name, p in vlm.named_parameters() if p.grad is not None}


@every_family
@every_adapter
def test_merged_and_reloaded_say_what_the_trained_model_says(load, tmp_path, family, adapter):
    vlm, merged, reloaded = load(family, adapter), load(family), load(family)
    rows = _rows(vlm)
    before = _logprobs(vlm, rows)
    _learn(vlm)
    trained = _logprobs(vlm, rows)
    assert (trained - before).abs().max() > 0.1
    write_adapter(vlm, tmp_path / "adapter")
    merge_adapter(merged, tmp_path / "adapter", adapter.holding(merged.setup))
    assert not merged.has_adapter
    assert [n for n, _ in merged.named_parameters()] == [n for n, _ in load(family).named_parameters()]
    assert (_logprobs(merged, rows) - trained).abs().max() <= EXACT
    if not adapter.holding(vlm.setup).four_bit:  # as anybody with PEFT would
        reloaded.model = PeftModel.from_pretrained(reloaded.model, str(tmp_path / "adapter"))
        assert_close(_logprobs(reloaded, rows), trained, atol=0, rtol=0)


@every_family
@pytest.mark.parametrize("adapter", [LoraAdapter(rank=4), DoraAdapter(rank=4)], ids=["lora", "dora"])
def test_a_fresh_adapter_changes_nothing(load, family, adapter):
    plain, vlm = load(family), load(family, adapter)
    rows = _rows(plain)
    assert_close(_logprobs(vlm, rows), _logprobs(plain, rows), atol=EXACT, rtol=0)
    assert reference_fingerprint(vlm, rows) == reference_fingerprint(plain, rows)


@every_family
@every_adapter
def test_only_the_language_model_learns_and_the_reference_is_the_start(load, family, adapter):
    vlm = load(family, adapter)
    rows = _rows(vlm)
    start = _logprobs(vlm, rows)
    learning = {name for name, p in vlm.core.named_parameters() if p.requires_grad}
    text = next(name for name, module in vlm.core.named_modules() if module is vlm.family.text_model)
    assert learning
    assert all(name.startswith(f"{text}.") and "lora_" in name for name in learning)
    _learn(vlm)
    with make_reference(vlm).acting() as reference:
        assert_close(reference.logprobs(rows).logprobs, start, atol=EXACT, rtol=0)
    assert vlm.output_weight is vlm.core.get_output_embeddings().weight  # still a plain layer


@every_family
@every_adapter
def test_shared_prompts_and_checkpointing_change_no_gradient(load, family, adapter):
    shared, plain, again = load(family, adapter), load(family, adapter, share_prompts=False), load(family, adapter)
    again.checkpoint_activations()
    rows = _rows(shared)
    for vlm in (shared, plain, again):
        _learn(vlm)
        vlm.model.train()
    expected = _gradients(plain, rows)
    assert expected
    assert all(gradient.abs().max() > 0 for gradient in expected.values())
    passes = []
    again.family.text_model.layers[1].self_attn.register_forward_hook(lambda *_: passes.append(1))
    for vlm in (shared, again):
        found = _gradients(vlm, rows)
        assert found.keys() == expected.keys()
        for name, gradient in expected.items():
            assert (found[name] - gradient).norm() <= EXACT * gradient.norm(), name
    assert len(passes) == 2  # once more in the backward pass


@pytest.mark.parametrize("family", ["qwen2_5_vl", "gemma3"])
@pytest.mark.parametrize("adapter", [FullAdapter(), *ADAPTERS.values()], ids=["full", *ADAPTERS])
def test_what_learns_is_float32_and_the_rest_as_the_model_says(load, family, adapter):
    vlm = load(family, adapter, setup=BF16)
    four_bit = [p for p in vlm.parameters() if hasattr(p, "quant_state")]
    assert {p.dtype for p in vlm.parameters() if p.requires_grad} == {torch.float32}
    assert {p.dtype for p in vlm.parameters() if p.is_floating_point() and not p.requires_grad} == {torch.bfloat16}
    assert bool(four_bit) == isinstance(adapter, QLoraAdapter)
    gradients = _gradients(vlm, _rows(vlm))
    assert gradients
    assert all(g.isfinite().all() and g.dtype == torch.float32 for g in gradients.values())


@pytest.mark.parametrize("adapter", ADAPTERS.values(), ids=ADAPTERS)
def test_an_adapter_on_bfloat16_weights_merges_into_their_values(load, tmp_path, adapter):
    """Compared in float32, where only the weights differ, not the rounding of activations."""
    vlm, merged = load("qwen2_5_vl", adapter, setup=BF16), load("qwen2_5_vl")
    rows = _rows(vlm)
    _learn(vlm)
    write_adapter(vlm, tmp_path / "adapter")
    merge_adapter(merged, tmp_path / "adapter", adapter.holding(BF16))
    trained = copy.deepcopy(vlm)
    trained.setup = ModelSetup()
    for wrapper in [m for m in trained.core.modules() if hasattr(getattr(m, "base_layer", None), "quant_state")]:
        four_bit = wrapper.base_layer
        wrapper.base_layer = torch.nn.Linear(four_bit.in_features, four_bit.out_features, four_bit.bias is not None)
        wrapper.base_layer.weight.data = dequantize_4bit(four_bit.weight.data, four_bit.weight.quant_state)
        wrapper.base_layer.bias = four_bit.bias
    for parameter in trained.parameters():
        if parameter.is_floating_point():
            parameter.data = parameter.data.float()
    assert (_logprobs(merged, rows) - _logprobs(trained, rows)).abs().max() <= EXACT
    assert (_logprobs(merged, rows) - _logprobs(vlm, rows)).abs().max() <= 0.5  # bfloat16 has three digits


def test_a_file_of_an_adapter_names_no_place_and_holds_nothing_else(load, folders, tmp_path):
    vlm = load("qwen2_5_vl", LoraAdapter(rank=4))
    write_adapter(vlm, tmp_path / "adapter")
    assert sorted(path.name for path in (tmp_path / "adapter").iterdir()) == [
        "adapter_config.json",
        "adapter_model.safetensors",
    ]
    text = (tmp_path / "adapter" / "adapter_config.json").read_text()
    assert json.loads(text)["base_model_name_or_path"] is None
    assert str(folders["qwen2_5_vl"]) not in text
    assert "tmp" not in text


def test_an_adapter_of_another_model_is_refused(load, tmp_path):
    write_adapter(load("qwen2_5_vl", LoraAdapter(rank=4, targets=["q_proj"])), tmp_path / "adapter")
    config = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())
    config["target_modules"] = config["target_modules"].replace("q_proj", "k_proj")
    (tmp_path / "adapter" / "adapter_config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match="weights are not the"):
        merge_adapter(load("qwen2_5_vl"), tmp_path / "adapter", LoraAdapter().holding(ModelSetup()))


def test_equal_seeds_give_equal_adapters_and_leave_the_generator_alone(load):
    def drawn(seed):
        vlm = load("qwen2_5_vl")
        torch.manual_seed(99)
        LoraAdapter(rank=4).attach(vlm, seed)
        assert torch.equal(torch.get_rng_state(), torch.Generator().manual_seed(99).get_state())
        return torch.cat([p.flatten() for n, p in vlm.named_parameters() if "lora_A" in n])

    assert torch.equal(drawn(1), drawn(1))
    assert not torch.equal(drawn(1), drawn(2))


def test_dropout_is_off_where_policies_are_measured(load):
    vlm = load("qwen2_5_vl", LoraAdapter(rank=4, dropout=0.5))
    rows = _rows(vlm)
    _learn(vlm)
    vlm.model.train()
    assert_close(_logprobs(vlm, rows), _logprobs(vlm, rows), atol=0, rtol=0)
    assert torch.equal(sequence_logps(make_reference(vlm), rows, 64), sequence_logps(make_reference(vlm), rows, 64))
    assert (vlm.logprobs(rows).logprobs - vlm.logprobs(rows).logprobs).abs().max() > 0


def test_named_targets_are_those_and_no_others(load):
    vlm = load("qwen2_5_vl", LoraAdapter(rank=4, targets=["q_proj", "down_proj"]))
    leaves = {name.split(".lora_")[0].rpartition(".")[2] for name, p in vlm.named_parameters() if p.requires_grad}
    assert leaves == {"q_proj", "down_proj"}
    assert not any("visual" in name for name, p in vlm.named_parameters() if p.requires_grad)


def test_unknown_targets_and_a_frozen_tower_are_named_together(load):
    vlm = load("qwen2_5_vl")
    with pytest.raises(UserError) as caught:
        target_pattern(vlm, ["q_projj", "lm_head"], include_vision=True)
    said = str(caught.value)
    assert "model.freeze_vision=false" in said
    assert "did you mean 'q_proj'" in said
    assert "'lm_head'" in said


@every_family
def test_the_tower_learns_if_it_is_told_to(load, family):
    unfrozen = ModelSetup(freeze_vision=False)
    vlm = load(family, LoraAdapter(rank=4, include_vision=True), setup=unfrozen)
    learning = {name for name, p in vlm.core.named_parameters() if p.requires_grad}
    tower = tuple(f"model.{name}." for name in vlm.family.tower_names)
    assert any(name.startswith(tower) for name in learning)
    assert not vlm.vision_frozen
    _learn(vlm)
    gradients = _gradients(vlm, _rows(vlm))
    assert any("lora_" in name and gradients[name].abs().max() > 0 for name in gradients if tower[0] in name)
    without = load(family, LoraAdapter(rank=4), setup=unfrozen)
    assert without.vision_frozen  # nothing of it learns, so its features need not be made again


def test_four_bit_weights_are_counted_as_what_they_stand_for(load):
    plain, vlm = load("qwen2_5_vl"), load("qwen2_5_vl", QLoraAdapter(rank=4))
    adapters = sum(p.numel() for p in vlm.parameters() if p.requires_grad)
    assert vlm.num_parameters == plain.num_parameters + adapters
    assert vlm.forward_parameters == plain.forward_parameters + adapters
    assert (vlm.frozen_forward_parameters, plain.frozen_forward_parameters) == (plain.forward_parameters, 0)


def test_biases_of_quantised_layers_are_merged_as_they_were_used(load, tmp_path):
    adapter = QLoraAdapter(rank=4, targets=["o_proj"], compute_dtype="bfloat16")
    vlm, merged = load("qwen2_5_vl"), load("qwen2_5_vl")
    for one in (vlm, merged):
        for name, parameter in one.core.named_parameters():
            if name.endswith("proj.bias"):
                parameter.data.fill_(100.3)  # Qwen's are as large as that
    adapter.attach(vlm, seed=3)
    _logprobs(vlm, _rows(vlm))
    write_adapter(vlm, tmp_path / "adapter")
    merge_adapter(merged, tmp_path / "adapter", adapter.holding(vlm.setup))
    held, used = (one.family.text_model.layers[0].self_attn.q_proj.bias.float() for one in (merged, vlm))
    assert torch.equal(held, used)


def test_the_fingerprint_of_four_bit_weights_sees_their_scales(load):
    one, other = (load("qwen2_5_vl", QLoraAdapter(rank=4, double_quant=False)) for _ in range(2))
    rows = _rows(one)
    first = reference_fingerprint(one, rows)
    assert reference_fingerprint(other, rows) == first
    linear = next(m for m in other.core.modules() if type(m).__name__ == "Linear4bit" and hasattr(m, "weight"))
    linear = linear.base_layer if hasattr(linear, "base_layer") else linear
    linear.weight.quant_state.absmax *= 2
    assert reference_fingerprint(other, rows) != first
