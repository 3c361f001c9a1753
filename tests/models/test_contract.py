"""What every family keeps, on a tiny checkpoint that looks like one of the hub's, with its real processor.

The oracle is Hugging Face's own processor, forward pass and `generate`, on one row at a time.
"""

import importlib.util
import json
import re
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import AutoModelForImageTextToText

from specs_lab.core.errors import UserError
from specs_lab.models import encoding
from specs_lab.models.image_only import PARTS
from specs_lab.models.prompts import Row
from specs_lab.models.setup import ModelSetup
from specs_lab.models.vlm import VLM
from specs_lab.rollout.inprocess import generate
from specs_lab.rollout.sampling import Sampling

_SPEC = importlib.util.spec_from_file_location("tiny_checkpoints", Path(__file__).with_name("tiny_checkpoints.py"))
tiny_checkpoints = sys.modules[_SPEC.name] = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(tiny_checkpoints)

EXACT = 2e-6
every_family = pytest.mark.parametrize("name", tiny_checkpoints.RECIPES)
SHARING = [name for name in tiny_checkpoints.RECIPES if name != "gemma3"]
TEXTS = ["How many?", "Compare <image> with <image>, please.", "No picture: 3 + 4?", "Which colour is it?"]
SIZES = [[(40, 20)], [(17, 33), (24, 24)], [], [(16, 16)]]  # (width, height)


def _picture(size, seed):
    width, height = size
    return Image.fromarray(np.random.default_rng(seed).integers(0, 255, (height, width, 3), dtype=np.uint8))


IMAGES = [[_picture(size, 10 * i + j) for j, size in enumerate(some)] for i, some in enumerate(SIZES)]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """Folders by family, each written once."""
    made = {}

    def of(name):
        if name not in made:
            made[name] = tiny_checkpoints.tiny_checkpoint(name, tmp_path_factory.mktemp(name))
        return made[name]

    return of


def _prompts(vlm):
    return vlm.encode_prompts(TEXTS, IMAGES, [f"prompt {i}" for i in range(len(TEXTS))])


def _rows(vlm):
    completions = vlm.encode_completions(["<answer> 6 </answer>", "two", "It is 7.", "red"])
    prompts = _prompts(vlm)
    return [Row(p, c) for i, p in enumerate(prompts) for c in (completions[i], completions[i - 1][:-1])]


def _stock_inputs(vlm, text, images):
    """What the stock processor's own way from a conversation to a model's inputs gives."""
    is_marked = text.count("<image>") == len(images)
    if vlm.family.marks_in_text and is_marked:  # the template would move the pictures to the front
        turn = [{"role": "user", "content": [{"type": "text", "text": text}]}]
        rendered = vlm.processor.apply_chat_template(turn, tokenize=False, add_generation_prompt=True)
        return vlm.processor(text=[rendered], images=[images] if images else None, return_tensors="pt")
    shown = iter(images)
    parts = re.split("(<image>)", text) if is_marked else ["<image>"] * len(images) + [text]
    content = [
        {"type": "image", "image": next(shown)} if part == "<image>" else {"type": "text", "text": part}
        for part in parts
        if part
    ]
    return vlm.processor.apply_chat_template(
        [{"role": "user", "content": content}],
        tokenize=True,
        return_dict=True,
        add_generation_prompt=True,
        processor_kwargs={"return_tensors": "pt"},
    )


def _hugging_face_logprobs(vlm, inputs, completion):
    """By the model's own forward pass over one unpadded row."""
    more = torch.tensor([completion])
    inputs = dict(inputs)
    for field, value in (("input_ids", more), ("attention_mask", torch.ones_like(more))):
        inputs[field] = torch.cat([inputs[field], value], dim=1)
    for field in ("token_type_ids", "mm_token_type_ids"):
        if field in inputs:
            inputs[field] = torch.cat([inputs[field], torch.zeros_like(more)], dim=1)
    logits = vlm.core(**inputs).logits[0, -len(completion) - 1 : -1]
    return torch.log_softmax(logits.double(), dim=-1).gather(1, more.T)[:, 0].float()


@every_family
def test_prompts_are_those_of_the_stock_processor(name, checkpoint):
    vlm = VLM.load(checkpoint(name))
    for prompt, text, images in zip(_prompts(vlm), TEXTS, IMAGES, strict=True):
        stock = _stock_inputs(vlm, text, images)
        assert prompt.token_ids.tolist() == stock["input_ids"][0].tolist()
        assert set(prompt.vision) == set(stock) - {
            "input_ids",
            "attention_mask",
            "token_type_ids",
            "mm_token_type_ids",
        }
        assert all(torch.equal(value, stock[field]) for field, value in prompt.vision.items())


@every_family
def test_expansion_is_the_stock_class_s_own_code(name):
    ours, stock = PARTS[name].processor, getattr(transformers, PARTS[name].stock)
    for method in ("__call__", "replace_image_token", "get_text_with_replacements", "_process_images", "_merge_kwargs"):
        assert getattr(ours, method) is getattr(stock, method)


@pytest.mark.parametrize(
    ("name", "tokens"),
    [
        ("qwen2_vl", [2 * 5, 4 * 2 + 3 * 3]),  # squares of 8 x 8
        ("qwen2_5_vl", [2 * 5, 4 * 2 + 3 * 3]),
        ("qwen3_vl", [2 * 5, 4 * 2 + 3 * 3]),
        ("idefics3", [4 * (2 + 1), 4 * (2 + 1) + 4 * (4 + 1)]),  # 4 a tile and the overview; longest edge 2 tiles
        ("smolvlm", [4 * (2 + 1), 4 * (2 + 1) + 4 * (4 + 1)]),
        ("internvl", [4 * (2 + 1), 4 * (2 + 1) + 4 * (4 + 1)]),
        ("gemma3", [4, 8]),
        ("llava_onevision", [16 + 4 * (8 + 1), 2 * (16 + 1)]),  # overview, tiles with line ends; several: overviews
    ],
)
def test_placeholders_by_hand(name, tokens, checkpoint):
    vlm = VLM.load(checkpoint(name))
    found = [int((prompt.token_ids == vlm.image_id).sum()) for prompt in _prompts(vlm)]
    assert found[:3] == [*tokens, 0]


@every_family
def test_pictures_stand_where_the_marks_are(name, checkpoint):
    vlm = VLM.load(checkpoint(name))
    (prompt,) = vlm.encode_prompts([TEXTS[1]], [IMAGES[1]], ["marked"])
    places = prompt.token_ids == vlm.image_id
    words = vlm.tokenizer.decode(prompt.token_ids[~places])
    before, between, behind = (words.index(word) for word in ("Compare", "with", "please"))
    assert before < between < behind
    first, last = places.nonzero()[[0, -1], 0]
    text = [vlm.tokenizer.decode(prompt.token_ids[:end]) for end in (first, last + 1)]
    assert "Compare" in text[0]
    assert "with" not in text[0]
    assert "with" in text[1]
    assert "please" not in text[1]


@every_family
def test_a_text_that_names_the_placeholder_shows_no_picture(name, checkpoint):
    vlm = VLM.load(checkpoint(name))
    token = vlm.tokenizer.convert_ids_to_tokens(vlm.image_id)
    text = f"What does {token} mean, and {token}{token}?"
    bare, shown = vlm.encode_prompts([text, text], [[], IMAGES[0]], ["bare", "shown"])
    (expected, *_) = _prompts(vlm)
    assert vlm.image_id not in bare.token_ids
    assert (shown.token_ids == vlm.image_id).sum() == (expected.token_ids == vlm.image_id).sum()
    assert "mean" in vlm.tokenizer.decode(bare.token_ids)


@every_family
def test_too_few_placeholders_name_the_prompt(name, checkpoint, monkeypatch):
    vlm = VLM.load(checkpoint(name))
    whole = vlm.family.expected_features
    monkeypatch.setattr(vlm.family, "expected_features", lambda vision: whole(vision) + bool(vision))
    with pytest.raises(ValueError, match=r"prompt theirs: \d+ image placeholders for"):
        vlm.encode_prompts(["?", "?"], [[], IMAGES[0]], ["mine", "theirs"])


@every_family
def test_features_of_odd_sizes_are_counted_right(name, checkpoint):
    """Processor and model count by rules of their own, which have to agree."""
    vlm = VLM.load(checkpoint(name))
    draw = np.random.default_rng(5)
    sizes = [(int(w), int(h)) for w, h in draw.integers(4, 90, (40, 2))]
    pictures = [[_picture(size, i)] for i, size in enumerate(sizes)]
    for some in (pictures, [[*one, *other] for one, other in pairwise(pictures)]):
        prompts = vlm.encode_prompts(["?"] * len(some), some, [str(i) for i in range(len(some))])
        assert all(prompt.vision for prompt in prompts)


@every_family
@pytest.mark.parametrize("frozen", [(True, True), (True, False), (False, False)])
def test_halves_are_close_sample_and_learn(name, frozen, checkpoint):
    exact = VLM.load(checkpoint(name))
    freezing = {"freeze_vision": frozen[0], "freeze_projector": frozen[1]}
    halves = VLM.load(checkpoint(name), setup=ModelSetup(dtype="bfloat16", **freezing))
    with torch.no_grad():
        expected = exact.logprobs(_rows(exact)).logprobs
    found = halves.logprobs(_rows(halves)).logprobs
    assert (found - expected).abs().max() < 0.3
    found.sum().backward()
    gradients = [p.grad for p in halves.family.text_model.layers.parameters()]
    assert all(gradient is not None and bool(gradient.isfinite().all()) for gradient in gradients)
    sampled = generate(halves, _prompts(halves), [["a"]] * len(TEXTS), Sampling(temperature=0.0, max_new_tokens=3))
    assert all(1 <= len(one.token_ids) <= 3 for (one,) in sampled)


@every_family
def test_logprobs_are_those_of_the_model_itself(name, checkpoint):
    vlm = VLM.load(checkpoint(name))
    rows = _rows(vlm)
    with torch.no_grad():
        scored = vlm.logprobs(rows).logprobs
        for i, (row, line) in enumerate(zip(rows, scored, strict=True)):
            inputs = _stock_inputs(vlm, TEXTS[i // 2], IMAGES[i // 2])
            expected = _hugging_face_logprobs(vlm, inputs, row.completion)
            assert (line[: len(row.completion)] - expected).abs().max() <= 3 * EXACT


@every_family
def test_what_a_picture_shows_matters(name, checkpoint):
    """Negative control: with another picture, everything above would be far outside of what is called equal."""
    vlm = VLM.load(checkpoint(name))
    (completion,) = vlm.encode_completions(["It is 7."])
    pictures = [[IMAGES[0][0]], [_picture(SIZES[0][0], 99)]]
    one, other = vlm.encode_prompts([TEXTS[0]] * 2, pictures, ["one", "other"])
    with torch.no_grad():
        scored = vlm.logprobs([Row(one, completion), Row(other, completion)]).logprobs
    assert (scored[0] - scored[1]).abs().max() > 100 * EXACT


@pytest.mark.parametrize("name", SHARING)
@pytest.mark.parametrize("frozen", [True, False])
def test_shared_prompts_are_plain_ones(name, frozen, checkpoint):
    found = []
    for share in (True, False):
        setup = ModelSetup(freeze_vision=frozen, freeze_projector=frozen)
        vlm = VLM.load(checkpoint(name), setup=setup, share_prompts=share)
        assert vlm.shares_prompts is share
        scored = vlm.logprobs(_rows(vlm)).logprobs
        (scored * torch.linspace(-1, 1, scored.numel()).view_as(scored)).sum().backward()
        gradients = {n: p.grad for n, p in vlm.named_parameters() if p.grad is not None}
        found.append((scored.detach(), gradients))
    (one, gradients), (other, expected) = found
    assert (one - other).abs().max() <= EXACT
    assert gradients.keys() == expected.keys()
    whole = torch.cat([expected[n].flatten() for n in gradients]).norm()
    assert torch.cat([(gradients[n] - expected[n]).flatten() for n in gradients]).norm() <= 2 * EXACT * whole


def test_a_family_that_cannot_share_says_why(checkpoint):
    vlm = VLM.load(checkpoint("gemma3"))
    assert "both directions" in (vlm.why_plain or "")
    scored = vlm.logprobs(_rows(vlm)).logprobs
    scored.sum().backward()
    assert all(p.grad is not None for p in vlm.family.text_model.layers.parameters())


@every_family
def test_greedy_samples_are_those_of_generate(name, checkpoint):
    vlm = VLM.load(checkpoint(name))
    sampled = generate(vlm, _prompts(vlm), [["a"]] * len(TEXTS), Sampling(temperature=0.0, max_new_tokens=12))
    for i, (text, images) in enumerate(zip(TEXTS, IMAGES, strict=True)):
        inputs = _stock_inputs(vlm, text, images)
        with torch.no_grad():
            made = vlm.core.generate(
                **inputs,
                do_sample=False,
                max_new_tokens=12,
                suppress_tokens=vlm.never_sampled,
                eos_token_id=vlm.end_ids,
                pad_token_id=vlm.pad_id,
            )
        assert list(sampled[i][0].token_ids) == made[0, inputs["input_ids"].shape[1] :].tolist()


@every_family
def test_what_is_saved_is_a_stock_folder_that_loads_as_it_was(name, checkpoint, tmp_path):
    vlm = VLM.load(checkpoint(name))
    with torch.no_grad():
        for parameter in vlm.model.parameters():
            parameter.mul_(1.01)
    vlm.save(tmp_path)
    again = VLM.load(tmp_path)
    state, other = vlm.core.state_dict(), again.core.state_dict()
    assert state.keys() == other.keys()
    assert all(torch.equal(state[key], other[key]) for key in state)
    with torch.no_grad():
        assert torch.equal(vlm.logprobs(_rows(vlm)).logprobs, again.logprobs(_rows(again)).logprobs)
    assert again.core.generation_config.to_dict() == vlm.core.generation_config.to_dict()
    assert again.processor.chat_template == vlm.processor.chat_template
    AutoModelForImageTextToText.from_pretrained(tmp_path)
    assert not [path for path in tmp_path.glob("*.json") if "ImageOnly" in path.read_text()]
    named = json.loads((tmp_path / "processor_config.json").read_text())["processor_class"]
    assert named == tiny_checkpoints.RECIPES[name].processor


@every_family
def test_every_parameter_is_tower_projector_or_language(name, checkpoint):
    vlm = VLM.load(checkpoint(name))
    tower, projector = vlm.family.tower_parameters(), vlm.family.projector_parameters()
    inside = {parameter: vlm.core.model.get_parameter(parameter) for parameter in (*tower, *projector)}
    assert all(inside[key] is value for key, value in {**tower, **projector}.items())
    assert tower
    assert projector
    assert not set(tower) & set(projector)
    rest = {key for key, _ in vlm.core.model.named_parameters()} - set(inside)
    assert rest == {key for key, _ in vlm.core.model.named_parameters() if key.startswith(("language_", "text_"))}


@every_family
@pytest.mark.parametrize("frozen", [(True, False), (False, True)])
def test_tower_and_projector_are_frozen_apart(name, frozen, checkpoint):
    freeze_vision, freeze_projector = frozen
    vlm = VLM.load(checkpoint(name), setup=ModelSetup(freeze_vision=freeze_vision, freeze_projector=freeze_projector))
    vlm.logprobs(_rows(vlm)).logprobs.sum().backward()

    def learns(parameters):
        return any(p.grad is not None and bool(p.grad.abs().sum() > 0) for p in parameters.values())

    assert learns(vlm.family.tower_parameters()) is not freeze_vision
    assert learns(vlm.family.projector_parameters()) is not freeze_projector
    assert not len(vlm.features)  # the features of what learns are never kept


@every_family
def test_adapters_go_on_the_language_model_alone_unless_asked(name, checkpoint):
    vlm = VLM.load(checkpoint(name))

    def matched(**options):
        pattern = vlm.family.lora_targets(**options)
        return {key for key, _ in vlm.core.named_modules() if re.fullmatch(pattern, key)}

    prefix = next(key for key, module in vlm.core.named_modules() if module is vlm.family.text_model)
    linear = {key for key, module in vlm.core.named_modules() if isinstance(module, nn.Linear)} - {"lm_head"}
    assert matched() == {key for key in linear if key.startswith(f"{prefix}.layers.")}
    assert len(matched()) == 3 * 7
    projector = tuple(f"model.{part}" for part in vlm.family.projector_names)
    of_projector = {key for key in linear if key.startswith(projector)}
    assert matched(projector=True) - matched() == of_projector
    assert of_projector or name == "gemma3"  # whose projector is a bare matrix
    assert matched(tower=True, projector=True) == linear
    assert not [key for key in matched(tower=True) if key.startswith(projector)]


@every_family
def test_layers_to_shard_are_those_of_language_model_and_tower(name, checkpoint):
    vlm = VLM.load(checkpoint(name))
    classes = vlm.family.shard_classes
    assert len(classes) == 2
    sharded = [module for module in vlm.core.modules() if type(module) in classes]
    tower = 3 if name == "qwen3_vl" else 2
    assert len(sharded) == 3 + tower
    assert all(isinstance(layer, classes[0]) for layer in vlm.family.text_model.layers)


@every_family
def test_vision_tokens_are_known_and_never_sampled(name, checkpoint):
    vlm = VLM.load(checkpoint(name))
    ids = {vlm.tokenizer.convert_tokens_to_ids(token) for token in vlm.family.vision_tokens}
    assert ids <= set(vlm.never_sampled) | {vlm.tokenizer.unk_token_id, None}
    assert vlm.image_id in vlm.never_sampled
    assert not set(vlm.end_ids) & set(vlm.never_sampled)


@every_family
def test_answers_end_as_the_chat_template_ends_a_turn(name, checkpoint):
    vlm = VLM.load(checkpoint(name))
    turn = [{"role": "user", "content": [{"type": "text", "text": "Hello"}]}]
    ids = vlm.tokenizer(vlm.processor.apply_chat_template(turn, tokenize=False), add_special_tokens=False)["input_ids"]
    specials = [i for i in ids if i == vlm.end_id]
    assert len(specials) == 1
    assert vlm.encode_completions(["yes"])[0][-1] == vlm.end_id


@every_family
def test_long_texts_of_any_script_come_back(name, checkpoint):
    vlm = VLM.load(checkpoint(name))
    text = "Größe: 3 ÷ 4 = 0.75 — 面积 is 12\n\t(ok)"
    assert vlm.decode(vlm.encode_completions([text])[0]) == text


@every_family
def test_pictures_are_made_again_where_there_are_too_many_to_keep(name, checkpoint, monkeypatch):
    vlm = VLM.load(checkpoint(name))
    rows = _rows(vlm)
    monkeypatch.setattr(encoding, "_MOST_KEPT", 0)
    monkeypatch.setattr(encoding, "_SMALL", 64)
    again = _rows(vlm)
    for row, other in zip(rows, again, strict=True):
        assert torch.equal(row.prompt.token_ids, other.prompt.token_ids)
        assert torch.equal(row.prompt.position_ids, other.prompt.position_ids)
        assert dict(row.prompt.vision).keys() == dict(other.prompt.vision).keys()
        assert all(torch.equal(value, other.prompt.vision[key]) for key, value in row.prompt.vision.items())
        if row.prompt.vision:
            assert other.prompt.vision["pixel_values"] is not other.prompt.vision["pixel_values"]
    with vlm.inference():
        expected = vlm.logprobs(rows).logprobs
        vlm.features.clear()
        assert torch.equal(vlm.logprobs(again).logprobs, expected)


def test_prompts_are_encoded_in_parts_of_so_many_pixels(monkeypatch):
    pictures = [[Image.new("RGB", size) for size in some] for some in ([(8, 8)], [(4, 4)], [], [(8, 8)] * 2, [(4, 4)])]
    monkeypatch.setattr(encoding, "_AT_ONCE", 80)
    assert list(encoding._parts(pictures)) == [slice(0, 3), slice(3, 4), slice(4, 5)]


@every_family
def test_a_checkpoint_that_lacks_weights_is_refused(name, checkpoint, tmp_path):
    """transformers itself would draw them at random."""
    vlm = VLM.load(checkpoint(name))
    vlm.save(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    gone = next(key for key in sorted(weights) if "layers.0.mlp" in key and "vis" not in key)
    save_file({key: value for key, value in weights.items() if key != gone}, tmp_path / "model.safetensors")
    with pytest.raises(UserError, match=r"layers\.0\.mlp"):
        VLM.load(tmp_path)
