"""Shared = plain = padded, for every family: log-probabilities, gradients, samples.

``plain`` is the model's own forward pass over padded rows, one copy of the prompt a row; ``alone``, one row of it.
"""

import copy
import importlib.util
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model

from specs_lab.models.prompts import Row
from specs_lab.models.setup import ModelSetup
from specs_lab.models.vlm import VLM
from specs_lab.rollout.inprocess import generate
from specs_lab.rollout.sampling import Sampling

UNFROZEN = ModelSetup(freeze_vision=False, freeze_projector=False)

_SPEC = importlib.util.spec_from_file_location("families", Path(__file__).with_name("families.py"))
families = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(families)

EXACT = 2e-6
every_family = pytest.mark.parametrize("name", families.FAMILIES)
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")


def _prompts(vlm):
    """Different lengths and pictures, and one without a picture."""
    kinds = [(1, 5, (4, 4)), (2, 9, (4, 8)), (3, 7, None), (4, 2, (8, 4))]
    return [families.prompt(vlm, *kind) for kind in kinds]


def _rows(vlm):
    """Groups of several lengths: equal ones, a single token, an empty one, a lone row."""
    generator = torch.Generator().manual_seed(7)
    lengths = [(6, 6, 6), (1, 9, 4), (5, 0), (7,)]
    return [
        Row(prompt, tuple(torch.randint(10, families.VOCAB, (length,), generator=generator).tolist()))
        for prompt, group in zip(_prompts(vlm), lengths, strict=True)
        for length in group
    ]


def _scored(vlm, rows):
    """Log-probabilities, and the gradient of all parameters of a weighted sum of them."""
    vlm.zero_grad(set_to_none=True)
    scored = vlm.logprobs(rows)
    weights = torch.linspace(-1, 1, scored.logprobs.numel()).view_as(scored.logprobs)
    (scored.logprobs * weights).sum().backward()
    gradient = torch.cat([p.grad.flatten() for _, p in sorted(vlm.named_parameters()) if p.grad is not None])
    return scored.logprobs.detach(), gradient


def _close(one, other):
    logprobs, gradient = one
    assert (logprobs - other[0]).abs().max() <= EXACT
    assert (gradient - other[1]).norm() <= EXACT * other[1].norm()


@every_family
def test_shared_is_plain_is_padded(name):
    shared, plain = families.tiny(name), families.tiny(name, share_prompts=False)
    assert shared.shares_prompts
    assert not plain.shares_prompts
    rows = _rows(shared)
    found, expected = _scored(shared, rows), _scored(plain, rows)
    _close(found, expected)
    with torch.no_grad():
        for row, line in zip(rows, expected[0], strict=True):
            alone = plain.logprobs([row]).logprobs[0]
            assert (line[: len(row.completion)] - alone).abs().max() <= EXACT if row.completion else True


@every_family
def test_the_comparison_can_fail(name):
    """Negative control: a branch that also saw its sibling would be far outside of what is called equal."""
    vlm = families.tiny(name)
    (prompt,) = _prompts(vlm)[:1]
    one, two = (10, 20, 30, 40), (50, 60, 70, 80)
    with torch.no_grad():
        right = vlm.logprobs([Row(prompt, one), Row(prompt, two)]).logprobs[1]
        leaking = vlm.logprobs([Row(prompt, one[:-1] + two)]).logprobs[0, len(one) - 1 :]
    assert (right - leaking).abs().max() > 1000 * EXACT


@every_family
def test_under_gradient_checkpointing(name):
    vlm, checkpointed = families.tiny(name), families.tiny(name)
    checkpointed.checkpoint_activations()
    vlm.model.train()
    checkpointed.model.train()
    passes = []
    checkpointed.family.text_model.layers[1].self_attn.register_forward_hook(lambda *_: passes.append(1))
    rows = _rows(vlm)
    _close(_scored(checkpointed, rows), _scored(vlm, rows))
    assert len(passes) == 2  # once more in the backward pass


@every_family
def test_with_lora(name):
    config = LoraConfig(r=2, target_modules=r".*(language|text)_model.*(q|v|down)_proj", init_lora_weights=False)

    def adapted(**options):
        core = families.tiny(name).model
        torch.manual_seed(1)
        return VLM(get_peft_model(core, copy.deepcopy(config)), families.tiny(name).processor, **options)

    shared, plain = adapted(), adapted(share_prompts=False)
    rows = _rows(shared)
    found, expected = _scored(shared, rows), _scored(plain, rows)
    _close(found, expected)
    with torch.no_grad():
        assert (families.tiny(name).logprobs(rows).logprobs - found[0]).abs().max() > 1e-2


@every_family
def test_the_tower_learns_through_shared_prompts(name):
    shared = families.tiny(name, setup=UNFROZEN)
    plain = families.tiny(name, setup=UNFROZEN, share_prompts=False)
    rows = _rows(shared)
    _close(_scored(shared, rows), _scored(plain, rows))
    for part in (shared.family.tower_parameters(), shared.family.projector_parameters()):
        assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in part.values())


@every_family
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_samples_are_those_of_generate(name, temperature):
    """Greedy and sampled, with rows that end early, and the training forward's log-probabilities."""
    shared, plain = families.tiny(name), families.tiny(name, share_prompts=False)
    for vlm in (shared, plain):
        head = vlm.core.get_output_embeddings().weight.data
        head[families.END] = head[20:60].mean(0) * 3  # ends now and then
    prompts = _prompts(shared)
    keys = [[f"{i}/{k}" for k in range(count)] for i, count in enumerate((5, 1, 3, 2))]
    sampling = Sampling(temperature=temperature, max_new_tokens=10)
    found, expected = (generate(vlm, prompts, keys, sampling) for vlm in (shared, plain))
    ids = [[c.token_ids for c in group] for group in found]
    assert ids == [[c.token_ids for c in group] for group in expected]
    rows = [Row(p, c) for p, group in zip(prompts, ids, strict=True) for c in group]
    with torch.no_grad():
        scored = shared.logprobs(rows).logprobs
    for line, one in zip(scored, (c for group in found for c in group), strict=True):
        assert (line[: len(one.token_ids)] - torch.tensor(one.logprobs)).abs().max() < 1e-5


def test_rows_without_pictures_alone():
    vlm = families.tiny("qwen3_vl")
    plain = families.tiny("qwen3_vl", share_prompts=False)
    rows = [Row(families.prompt(vlm, 1, 6, None), (10, 11, 12)), Row(families.prompt(vlm, 2, 3, None), (13,))]
    with torch.no_grad():
        assert (vlm.logprobs(rows).logprobs - plain.logprobs(rows).logprobs).abs().max() <= EXACT


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"layer_types": ["full_attention", "sliding_attention", "full_attention"]}, "full attention"),
        ({"attn_logit_softcapping": 30.0}, "caps attention scores"),
        ({"attention_dropout": 0.1}, "at random"),
    ],
)
def test_models_that_cannot_share_say_why_and_take_the_plain_path(change, reason):
    model = families.tiny("qwen2_5_vl").model
    for field, value in change.items():
        setattr(model.config.get_text_config(), field, value)
    vlm = VLM(model, families.tiny("qwen2_5_vl").processor)
    assert reason in (vlm.why_plain or "")
    assert not vlm.shares_prompts


def test_models_that_ignore_what_logits_to_keep_are_scored_right():
    vlm = families.tiny("qwen2_5_vl", share_prompts=False)
    rows = _rows(vlm)
    forward = type(vlm.core).forward
    with torch.no_grad():
        expected = vlm.logprobs(rows).logprobs
        vlm.core.forward = lambda *args, logits_to_keep=0, **kwargs: forward(vlm.core, *args, **kwargs)
        assert (vlm.logprobs(rows).logprobs - expected).abs().max() <= EXACT


def test_a_tower_that_is_not_found_is_not_said_to_be_frozen(monkeypatch):
    monkeypatch.setattr("specs_lab.models.families.FAMILIES", ())
    vlm = families.tiny("qwen2_5_vl")
    assert not any(p.requires_grad for p in vlm.core.model.visual.parameters())
    monkeypatch.setattr("specs_lab.models.families.base.UnknownFamily.tower_names", ())
    with pytest.raises(ValueError, match="no vision tower"):
        families.tiny("qwen2_5_vl")
    assert families.tiny("qwen2_5_vl", setup=UNFROZEN).why_plain


def test_unknown_families_take_the_plain_path(monkeypatch):
    """Right without knowing anything of the model: here Qwen2.5-VL under another name, its inputs in its own form."""
    known = families.tiny("qwen2_5_vl", share_prompts=False)
    rows = [row for row in _rows(known) if row.prompt.vision]
    monkeypatch.setattr("specs_lab.models.families.FAMILIES", ())
    vlm = families.tiny("qwen2_5_vl")
    assert "qwen2_5_vl" in (vlm.why_plain or "")
    # An unknown family's own inputs arrive with the prompt; the kinds of tokens are one of them.
    monkeypatch.setattr(
        type(vlm.family),
        "plain_inputs",
        lambda self, prompts, ids: {
            "pixel_values": torch.cat([p.vision["pixel_values"] for p in prompts]),
            "image_grid_thw": torch.cat([p.vision["image_grid_thw"] for p in prompts]),
            "mm_token_type_ids": (ids == families.IMAGE).int(),
        },
    )
    with torch.no_grad():
        assert (vlm.logprobs(rows).logprobs - known.logprobs(rows).logprobs).abs().max() <= EXACT
