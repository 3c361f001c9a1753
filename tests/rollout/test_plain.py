"""Sampling by Hugging Face's `generate`: the same choices, and nothing of the model's own settings."""

import pytest
import torch

from specs_lab.models.prompts import Row
from specs_lab.models.vlm import VLM
from specs_lab.rollout.inprocess import generate
from specs_lab.rollout.sampling import Sampling


@pytest.fixture
def plain(toy_vlm):
    return VLM(toy_vlm.model, toy_vlm.processor, share_prompts=False)


def _names(prompts):
    return [[f"{prompt.key}/{k}" for k in range(3)] for prompt in prompts]


def test_penalties_of_the_checkpoint_do_not_bend_the_distribution(plain, toy_prompts):
    plain.core.generation_config.repetition_penalty = 1.5
    plain.core.generation_config.no_repeat_ngram_size = 1
    groups = generate(plain, toy_prompts, _names(toy_prompts), Sampling(max_new_tokens=8))
    rows = [Row(p, c.token_ids) for p, group in zip(toy_prompts, groups, strict=True) for c in group]
    with torch.no_grad():
        scored = plain.logprobs(rows)
    sampled = torch.cat([torch.tensor(c.logprobs) for group in groups for c in group])
    assert (scored.logprobs[scored.mask] - sampled).abs().max() < 5e-5
    assert plain.core.generation_config.repetition_penalty == 1.5  # and they are there again


class Capped(torch.nn.Linear):
    """An output layer that is more than a matrix, as Gemma's."""

    def forward(self, states):
        return torch.tanh(super().forward(states) / 2) * 2


def test_models_that_cap_their_logits_are_scored_by_them(plain, toy_prompts):
    weight = plain.core.lm_head.weight
    plain.core.lm_head = Capped(weight.shape[1], weight.shape[0], bias=False)
    plain.core.lm_head.weight = torch.nn.Parameter(weight.detach() * 3)
    groups = generate(plain, toy_prompts, _names(toy_prompts), Sampling(max_new_tokens=8))
    rows = [Row(p, c.token_ids) for p, group in zip(toy_prompts, groups, strict=True) for c in group]
    with torch.no_grad():
        scored = plain.logprobs(rows)
        uncapped = VLM(plain.model, plain.processor)
        with pytest.raises(TypeError, match="Capped"):
            uncapped.logprobs(rows)
    sampled = torch.cat([torch.tensor(c.logprobs) for group in groups for c in group])
    assert (scored.logprobs[scored.mask] - sampled).abs().max() < 5e-5


def test_both_paths_draw_the_same_from_a_nucleus(plain, toy_vlm, toy_prompts):
    sampling = Sampling(max_new_tokens=8, temperature=0.6, top_p=0.5)
    ours, theirs = (generate(vlm, toy_prompts, _names(toy_prompts), sampling) for vlm in (toy_vlm, plain))
    whole = generate(toy_vlm, toy_prompts, _names(toy_prompts), Sampling(max_new_tokens=8, temperature=0.6))
    ids = [[one.token_ids for one in group] for group in ours]
    assert ids == [[one.token_ids for one in group] for group in theirs]
    assert ids != [[one.token_ids for one in group] for group in whole]
    rows = [Row(p, c.token_ids) for p, group in zip(toy_prompts, ours, strict=True) for c in group]
    with torch.no_grad():
        scored = toy_vlm.logprobs(rows, temperature=0.6)
    sampled = torch.cat([torch.tensor(c.logprobs) for group in ours for c in group])
    assert (scored.logprobs[scored.mask] - sampled).abs().max() < 5e-5
