"""The sampler against Hugging Face's `generate` and against the training forward."""

import numpy as np
import pytest
import torch

from specs_lab.models.attention import PrefillPlan
from specs_lab.models.prompts import Row
from specs_lab.models.vlm import VLM
from specs_lab.rollout.inprocess import generate, prefill
from specs_lab.rollout.sampling import Sampling

NEW = 12


def _names(prompts, count):
    return [[f"{prompt.key}/{k}" for k in range(count)] for prompt in prompts]


def test_greedy_against_hf_generate(toy_vlm, toy_prompts):
    ours = generate(toy_vlm, toy_prompts, _names(toy_prompts, 1), Sampling(temperature=0, max_new_tokens=NEW))
    for prompt, (completion,) in zip(toy_prompts, ours, strict=True):
        ids = prompt.token_ids[None]
        theirs = toy_vlm.model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            **prompt.vision,
            mm_token_type_ids=(ids == toy_vlm.image_id).int(),
            do_sample=False,
            max_new_tokens=NEW,
            suppress_tokens=toy_vlm.never_sampled,
        )
        assert theirs[0, ids.shape[1] :].tolist() == list(completion.token_ids)


def test_sampled_logprobs_equal_the_training_forward(toy_vlm, toy_prompts):
    groups = generate(toy_vlm, toy_prompts, _names(toy_prompts, 3), Sampling(max_new_tokens=NEW))
    rows = [Row(p, c.token_ids) for p, group in zip(toy_prompts, groups, strict=True) for c in group]
    with torch.no_grad():
        scored = toy_vlm.logprobs(rows)
    for i, completion in enumerate(c for group in groups for c in group):
        expected = scored.logprobs[i, : len(completion.token_ids)].numpy()
        np.testing.assert_allclose(completion.logprobs, expected, atol=5e-5)


@pytest.mark.parametrize("batch_size", [1, 4, 100])
def test_samples_do_not_depend_on_the_batch_split(toy_vlm, toy_prompts, batch_size):
    sampling = Sampling(max_new_tokens=NEW)
    whole = generate(toy_vlm, toy_prompts, _names(toy_prompts, 3), sampling)
    split = generate(toy_vlm, toy_prompts, _names(toy_prompts, 3), sampling, batch_size=batch_size)
    backwards = generate(toy_vlm, toy_prompts[::-1], _names(toy_prompts[::-1], 3), sampling)[::-1]
    ids = [[c.token_ids for c in group] for group in whole]
    assert [[c.token_ids for c in group] for group in split] == ids
    assert [[c.token_ids for c in group] for group in backwards] == ids


def test_other_keys_give_other_samples(toy_vlm, toy_prompts):
    sampling = Sampling(max_new_tokens=NEW)
    one, other = (generate(toy_vlm, toy_prompts[:1], [[key]], sampling)[0][0] for key in ("a", "b"))
    assert one.token_ids != other.token_ids


def test_truncation_is_flagged_and_ends_are_kept(toy_vlm, toy_prompts):
    # The toy model rarely ends by itself; make the end token likely, so that both cases occur.
    toy_vlm.core.lm_head.weight.data[toy_vlm.end_id] *= 4
    groups = generate(toy_vlm, toy_prompts, _names(toy_prompts, 20), Sampling(max_new_tokens=6))
    flat = [completion for group in groups for completion in group]
    assert {completion.truncated for completion in flat} == {True, False}
    for completion in flat:
        assert completion.truncated == (completion.token_ids[-1] != toy_vlm.end_id)
        assert toy_vlm.end_id not in completion.token_ids[:-1]
        assert len(completion.token_ids) == 6 or not completion.truncated
        assert len(completion.logprobs) == len(completion.token_ids)


def test_vision_specials_are_never_sampled(toy_vlm, toy_prompts):
    toy_vlm.core.lm_head.weight.data[toy_vlm.never_sampled] = toy_vlm.core.lm_head.weight.data.abs().max() * 50
    groups = generate(toy_vlm, toy_prompts, _names(toy_prompts, 4), Sampling(max_new_tokens=8))
    sampled = {token for group in groups for completion in group for token in completion.token_ids}
    assert toy_vlm.image_id in toy_vlm.never_sampled
    assert not sampled & set(toy_vlm.never_sampled)


def test_the_mode_is_restored(toy_vlm, toy_prompts):
    toy_vlm.model.train()
    generate(toy_vlm, toy_prompts[:1], [["a"]], Sampling(max_new_tokens=2))
    assert toy_vlm.model.training


def test_prompts_are_encoded_once_and_without_padding(toy_vlm, toy_prompts, monkeypatch):
    seen = []
    forward = toy_vlm.text_hidden_states

    def spy(token_ids, positions, plan, *rest):
        if isinstance(plan, PrefillPlan):
            seen.append(token_ids.numel())
        return forward(token_ids, positions, plan, *rest)

    monkeypatch.setattr(toy_vlm, "text_hidden_states", spy)
    generate(toy_vlm, toy_prompts, _names(toy_prompts, 4), Sampling(max_new_tokens=3))
    assert seen == [sum(len(prompt.token_ids) for prompt in toy_prompts)]


@pytest.mark.parametrize("most_tokens", [1, 60, 100])
def test_prompts_may_be_encoded_in_parts(toy_vlm, toy_prompts, most_tokens, monkeypatch):
    sampling = Sampling(max_new_tokens=NEW)
    whole = generate(toy_vlm, toy_prompts, _names(toy_prompts, 2), sampling)
    monkeypatch.setattr("specs_lab.rollout.inprocess.prefill", lambda v, p: prefill(v, p, most_tokens))
    parts = generate(toy_vlm, toy_prompts, _names(toy_prompts, 2), sampling)
    assert [[c.token_ids for c in group] for group in parts] == [[c.token_ids for c in group] for group in whole]


def test_every_end_token_of_the_generation_config_ends_a_response(toy_vlm, toy_prompts):
    first = generate(toy_vlm, toy_prompts, _names(toy_prompts, 1), Sampling(temperature=0, max_new_tokens=NEW))
    another = first[0][0].token_ids[2]
    toy_vlm.core.generation_config.eos_token_id = [toy_vlm.end_id, another]
    for options in ({}, {"share_prompts": False}):
        vlm = VLM(toy_vlm.model, toy_vlm.processor, **options)
        (made,) = generate(vlm, toy_prompts[:1], [["a"]], Sampling(temperature=0, max_new_tokens=NEW))[0]
        assert made.token_ids == first[0][0].token_ids[: first[0][0].token_ids.index(another) + 1]
        assert not made.truncated
        assert vlm.decode(made.token_ids) == vlm.decode(made.token_ids[:-1])


def test_what_sampling_leaves_behind_can_be_trained_on(toy_vlm, toy_prompts):
    """Sampling runs in inference mode, whose tensors autograd refuses; the features that it made are kept."""
    groups = generate(toy_vlm, toy_prompts, _names(toy_prompts, 2), Sampling(max_new_tokens=3))
    assert not any(part.is_inference() for kept in toy_vlm.image_features(toy_prompts) for part in kept)
    rows = [Row(p, c.token_ids) for p, group in zip(toy_prompts, groups, strict=True) for c in group]
    toy_vlm.logprobs(rows).logprobs.sum().backward()


def test_under_gradient_checkpointing(toy_vlm, toy_prompts):
    sampling = Sampling(max_new_tokens=NEW)
    before = generate(toy_vlm, toy_prompts, _names(toy_prompts, 2), sampling)
    toy_vlm.checkpoint_activations()
    toy_vlm.model.train()
    assert generate(toy_vlm, toy_prompts, _names(toy_prompts, 2), sampling) == before


def test_in_half_precision_the_sampler_is_as_close_to_training_as_rounding_allows(toy_vlm, toy_prompts):
    vlm = toy_vlm.to(torch.bfloat16)
    groups = generate(vlm, toy_prompts, _names(toy_prompts, 8), Sampling(max_new_tokens=NEW))
    rows = [Row(p, c.token_ids) for p, group in zip(toy_prompts, groups, strict=True) for c in group]
    with torch.no_grad():
        scored = vlm.logprobs(rows)
    assert scored.logprobs.dtype == torch.float32
    sampled = torch.cat([torch.tensor(c.logprobs) for group in groups for c in group])
    difference = (scored.logprobs[scored.mask] - sampled).abs()
    assert difference.mean() < 0.01
    assert difference.max() < 0.15


def test_one_token_at_most(toy_vlm, toy_prompts):
    groups = generate(toy_vlm, toy_prompts, _names(toy_prompts, 3), Sampling(max_new_tokens=1))
    assert {len(c.token_ids) for group in groups for c in group} == {1}


def test_a_group_larger_than_the_batch_is_cut_and_joined(toy_vlm, toy_prompts):
    sampling = Sampling(max_new_tokens=3)
    names = [[f"{i}/{k}" for k in range(count)] for i, count in enumerate((7, 0, 2, 5, 1))]
    whole, cut = (generate(toy_vlm, toy_prompts, names, sampling, batch_size=size) for size in (100, 3))
    assert [[c.token_ids for c in group] for group in cut] == [[c.token_ids for c in group] for group in whole]
    assert [len(group) for group in cut] == [7, 0, 2, 5, 1]
