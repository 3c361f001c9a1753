"""The wrapper against plain Hugging Face calls, and the traps that vision inputs set."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from torch.testing import assert_close

from specs_lab.models.prompts import Row, continued
from specs_lab.models.setup import ModelSetup
from specs_lab.models.vlm import VLM

UNFROZEN = ModelSetup(freeze_vision=False, freeze_projector=False)


def _plain_logprobs(vlm, row):
    """Per-token log-probabilities by one ordinary forward pass with pixels, no batch, no padding."""
    ids = torch.cat([row.prompt.token_ids, torch.tensor(row.completion)])[None]
    logits = vlm.model(
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        **row.prompt.vision,
        mm_token_type_ids=(ids == vlm.image_id).int(),
    ).logits
    start = len(row.prompt.token_ids) - 1
    logprobs = torch.log_softmax(logits[0, start:-1].double(), dim=-1)
    return logprobs.gather(1, torch.tensor(row.completion)[:, None])[:, 0].float()


def test_logprobs_against_plain_forward(toy_vlm, toy_rows):
    with torch.no_grad():
        scored = toy_vlm.logprobs(toy_rows)
        for i, row in enumerate(toy_rows):
            assert_close(scored.logprobs[i, : len(row.completion)], _plain_logprobs(toy_vlm, row), atol=2e-5, rtol=0)


def test_temperature_divides_the_logits(toy_vlm, toy_rows):
    """Against the whole distribution: at T, each token's share is p^(1/T) over the sum of all of them."""
    row = toy_rows[0]
    with torch.no_grad():
        logits = toy_vlm.logits(toy_vlm.completion_states([row])).double()
        tempered = toy_vlm.logprobs([row], temperature=0.6).logprobs[0]
    for i, token in enumerate(row.completion):
        shares = torch.softmax(logits[i], 0) ** (1 / 0.6)
        assert tempered[i].exp().item() == pytest.approx((shares[token] / shares.sum()).item(), rel=1e-4)


def test_gradients_against_plain_forward(toy_vlm, toy_rows):
    row = toy_rows[1]
    weight = toy_vlm.core.model.language_model.layers[0].self_attn.q_proj.weight
    toy_vlm.logprobs([row]).logprobs.sum().backward()
    ours, weight.grad = weight.grad, None
    _plain_logprobs(toy_vlm, row).sum().backward()
    assert_close(ours, weight.grad, atol=1e-4, rtol=1e-4)


def test_padding_changes_no_logprob(toy_vlm, toy_rows):
    with torch.no_grad():
        together = toy_vlm.logprobs(toy_rows)
        for i, row in enumerate(toy_rows):
            alone = toy_vlm.logprobs([row])
            length = len(row.completion)
            assert_close(together.logprobs[i, :length], alone.logprobs[0], atol=2e-5, rtol=0)
            assert not together.logprobs[i, length:].any()
            assert together.mask[i].sum() == length


def test_empty_completion_scores_nothing_and_stays_finite(toy_vlm, toy_rows):
    rows = [Row(toy_rows[0].prompt, ()), toy_rows[1]]
    scored = toy_vlm.logprobs(rows)
    scored.logprobs.sum().backward()
    assert scored.mask[0].sum() == 0
    assert scored.logprobs[0].sum() == 0
    assert all(torch.isfinite(p.grad).all() for p in toy_vlm.parameters() if p.grad is not None)


def test_entropy_and_nucleus_against_definition(toy_vlm, toy_rows):
    with torch.no_grad():
        scored = toy_vlm.logprobs(toy_rows[:2], spread=True, temperature=0.7)
        logits = toy_vlm.logits(toy_vlm.completion_states(toy_rows[:2])) / 0.7
    assert_close(scored.entropy[scored.mask], torch.distributions.Categorical(logits=logits).entropy())
    for probabilities, size in zip(torch.softmax(logits, -1), scored.nucleus[scored.mask], strict=True):
        largest = sorted(probabilities.tolist(), reverse=True)
        assert sum(largest[: int(size)]) >= 0.95 > sum(largest[: int(size) - 1])
    assert not scored.entropy[~scored.mask].any()
    assert not scored.nucleus[~scored.mask].any()


def test_pictures_matter_and_belong_to_their_row(toy_vlm, toy_rows):
    with torch.no_grad():
        before = toy_vlm.logprobs(toy_rows).logprobs
        order = [4, 2, 0, 3, 1]
        shuffled = toy_vlm.logprobs([toy_rows[i] for i in order]).logprobs
        other_picture = Row(_with_picture_of(toy_rows[0].prompt, toy_rows[2].prompt), toy_rows[0].completion)
        swapped = toy_vlm.logprobs([other_picture]).logprobs
    for place, i in enumerate(order):
        length = len(toy_rows[i].completion)
        assert_close(shuffled[place, :length], before[i, :length], atol=2e-5, rtol=0)
    assert (swapped[0] - before[0, : swapped.shape[1]]).abs().max() > 1e-3


def _with_picture_of(prompt, other):
    from dataclasses import replace

    return replace(prompt, vision=other.vision, key=other.key)


def test_frozen_features_are_computed_once(toy_vlm, toy_prompts, monkeypatch):
    toy_vlm.image_features(toy_prompts)

    def fail(*_, **__):
        raise AssertionError("the vision tower ran again")

    monkeypatch.setattr(toy_vlm.core, "get_image_features", fail)
    again = toy_vlm.image_features(toy_prompts)
    assert [f.shape for (f,) in again] == [(16, 96)] * len(toy_prompts)


def test_feature_cache_is_bounded_in_memory(toy_vlm, toy_prompts):
    picture = 16 * 96 * 4
    vlm = VLM(toy_vlm.model, toy_vlm.processor, feature_cache_bytes=2 * picture)
    vlm.image_features(toy_prompts)
    assert [p.key in vlm.features for p in toy_prompts] == [False] * (len(toy_prompts) - 2) + [True] * 2
    assert vlm.features.bytes == 2 * picture


def test_trainable_tower_gets_gradients_and_is_not_cached(toy_vlm, toy_rows):
    toy_vlm.requires_grad_(True)
    vlm = VLM(toy_vlm.model, toy_vlm.processor, setup=UNFROZEN)
    vlm.logprobs(toy_rows[:2]).logprobs.sum().backward()
    assert vlm.core.model.visual.patch_embed.proj.weight.grad.abs().sum() > 0
    assert not len(vlm.features)


def test_placeholders_equal_features(toy_vlm, toy_prompts, monkeypatch):
    for prompt in toy_prompts:
        assert (prompt.token_ids == toy_vlm.image_id).sum() == 16
    monkeypatch.setattr(toy_vlm.processor, "image_token", "<|vision_pad|>")
    with pytest.raises(ValueError, match=r"1 image placeholders for 16 picture features"):
        toy_vlm.encode_prompts(["What?"], [[Image.new("RGB", (64, 64))]], ["key"])


def test_prompts_with_and_without_pictures_mix(toy_vlm, toy_problems):
    texts = [p.question for p in toy_problems]
    keys = [p.id for p in toy_problems]
    images = [p.images if i % 2 else () for i, p in enumerate(toy_problems)]
    mixed = toy_vlm.encode_prompts(texts, images, keys)
    seen = toy_vlm.encode_prompts(texts, [p.images for p in toy_problems], keys)
    for prompt, full, image in zip(mixed, seen, images, strict=True):
        if not image:
            assert not prompt.vision
            assert prompt.token_ids.tolist() != full.token_ids.tolist()
            assert toy_vlm.image_id not in prompt.token_ids
        else:
            assert torch.equal(prompt.token_ids, full.token_ids)
            assert torch.equal(prompt.vision["pixel_values"], full.vision["pixel_values"])
    bare = toy_vlm.encode_prompts(texts, [()] * len(texts), keys)
    assert [len(p.token_ids) for p in bare[::2]] == [len(p.token_ids) for p in mixed[::2]]


def test_a_prompt_continued_is_the_prompt_and_the_beginning_of_its_response(toy_vlm, toy_rows):
    """Scoring the rest behind a continued prompt is scoring it as the end of the whole response."""
    row = toy_rows[0]
    cut = len(row.completion) // 2
    behind = Row(continued(row.prompt, row.completion[:cut]), row.completion[cut:])
    with torch.no_grad():
        whole, rest = toy_vlm.logprobs([row]).logprobs[0], toy_vlm.logprobs([behind]).logprobs[0]
    assert cut > 0
    assert_close(rest, whole[cut : len(row.completion)], atol=1e-5, rtol=0)


def test_positions_are_mrope(toy_vlm, toy_prompts):
    prompt = toy_prompts[0]
    picture = prompt.token_ids == toy_vlm.image_id
    assert prompt.position_ids[:, picture].T[:5].tolist() == [[4, 4, 4], [4, 4, 5], [4, 4, 6], [4, 4, 7], [4, 5, 4]]
    after = prompt.position_ids[:, 20:]
    assert after.tolist() == [list(range(8, 8 + after.shape[1]))] * 3
    assert prompt.next_position == after[0, -1] + 1


def test_end_token_is_part_of_the_completion(toy_vlm):
    (completion,) = toy_vlm.encode_completions(["yes"])
    assert completion[-1] == toy_vlm.end_id
    assert toy_vlm.decode(completion) == "yes"
    assert toy_vlm.end_id != toy_vlm.pad_id
    assert toy_vlm.encode_completions(["yes"], ended=False) == [completion[:-1]]


def test_pictures_of_other_sizes_go_through_the_image_processor(toy_vlm):
    prompts = toy_vlm.encode_prompts(
        ["a", "b"], [[Image.new("RGB", (64, 64))], [Image.new("RGB", (100, 80))]], ["x", "y"]
    )
    for prompt in prompts:
        features = int(prompt.vision["image_grid_thw"].prod()) // 4
        assert (prompt.token_ids == toy_vlm.image_id).sum() == features


def test_patchify_equals_the_image_processor(toy_vlm):
    from specs_lab.models.processing import patchify

    images = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)
    processor = toy_vlm.processor.image_processor
    values, grid = patchify(images, processor)
    expected = processor(images=[Image.fromarray(image) for image in images], return_tensors="pt")
    assert_close(torch.from_numpy(values).flatten(0, 1), expected["pixel_values"], atol=1e-6, rtol=0)
    assert_close(torch.from_numpy(grid), expected["image_grid_thw"])


def test_saved_model_reloads_equal(toy_vlm, toy_rows, tmp_path):
    toy_vlm.save(tmp_path)
    again = VLM.load(tmp_path)
    with torch.no_grad():
        assert_close(again.logprobs(toy_rows).logprobs, toy_vlm.logprobs(toy_rows).logprobs, atol=0, rtol=0)
    assert not list(tmp_path.glob("*.bin"))
    assert again.core.lm_head.weight.data_ptr() == again.core.get_input_embeddings().weight.data_ptr()


def test_inference_restores_the_mode(toy_vlm):
    toy_vlm.model.train()
    with toy_vlm.inference():
        assert not toy_vlm.model.training
        assert not torch.is_grad_enabled()
    assert toy_vlm.model.training
    assert torch.is_grad_enabled()


def test_features_follow_the_weights_that_made_them(toy_vlm, toy_prompts):
    before = [first.clone() for (first,) in toy_vlm.image_features(toy_prompts)]
    with torch.no_grad():
        toy_vlm.core.model.visual.patch_embed.proj.weight.mul_(1.5)
    after = [first for (first,) in toy_vlm.image_features(toy_prompts)]
    assert all((one - other).abs().max() > 1e-3 for one, other in zip(before, after, strict=True))


def test_features_do_not_stay_where_the_model_was(toy_vlm, toy_prompts):
    toy_vlm.image_features(toy_prompts)
    assert len(toy_vlm.features)
    (first,) = toy_vlm.to(torch.float64).image_features(toy_prompts[:1])[0]
    assert first.dtype == torch.float64


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")
def test_a_frozen_tower_with_an_adapter_is_refused(toy_vlm):
    from peft import LoraConfig, get_peft_model

    adapted = get_peft_model(toy_vlm.model, LoraConfig(r=2, target_modules=r".*visual.*qkv"))
    with pytest.raises(ValueError, match="adapter"):
        VLM(adapted, toy_vlm.processor)
    assert VLM(adapted, toy_vlm.processor, setup=UNFROZEN).has_adapter


def test_a_model_that_does_not_ask_the_plan_is_refused(toy_vlm, toy_rows):
    """It would attend from every position to every other, and give numbers all the same."""
    toy_vlm.core.set_attn_implementation("sdpa")
    with pytest.raises(RuntimeError, match="0 of 3 layers used the attention plan"):
        toy_vlm.logprobs(toy_rows)


def test_placeholders_inside_completions_are_no_pictures(toy_vlm, toy_rows):
    odd = Row(toy_rows[0].prompt, (toy_vlm.image_id, *toy_rows[0].completion))
    with torch.no_grad():
        scored = toy_vlm.logprobs([odd, toy_rows[1]])
        alone = toy_vlm.logprobs([toy_rows[1]])
    assert torch.isfinite(scored.logprobs).all()
    assert_close(scored.logprobs[1, : len(toy_rows[1].completion)], alone.logprobs[0], atol=2e-5, rtol=0)


def test_float64_stays_float64(toy_vlm, toy_rows):
    single = toy_vlm.logprobs(toy_rows).logprobs.detach()
    double = toy_vlm.to(torch.float64).logprobs(toy_rows).logprobs.detach()
    assert double.dtype == torch.float64
    assert_close(single.double(), double, atol=2e-5, rtol=0)


def test_prompts_need_not_lie_next_to_each_other(toy_vlm, toy_rows):
    both = [*toy_rows, *(Row(row.prompt, row.completion[2:]) for row in toy_rows)]
    with torch.no_grad():
        mixed = toy_vlm.logprobs(both)
        for i, row in enumerate(both):
            expected = toy_vlm.logprobs([row]).logprobs[0]
            assert_close(mixed.logprobs[i, : len(row.completion)], expected, atol=2e-5, rtol=0)


def test_tokenizers_without_these_specials_forbid_the_placeholder_alone(toy_vlm):
    """Of an unknown token, most tokenizers give the id of their unknown-token, which is a word like any other."""
    tokenizer = SimpleNamespace(eos_token_id=1, pad_token_id=0, unk_token_id=3, convert_tokens_to_ids=lambda _: 3)
    vlm = VLM(toy_vlm.model, SimpleNamespace(tokenizer=tokenizer))
    assert vlm.never_sampled == [toy_vlm.image_id]


def test_a_tokenizer_without_an_end_is_refused(toy_vlm):
    tokenizer = SimpleNamespace(eos_token_id=None, pad_token_id=0, convert_tokens_to_ids=lambda _: None)
    with pytest.raises(ValueError, match="end token"):
        VLM(toy_vlm.model, SimpleNamespace(tokenizer=tokenizer))
