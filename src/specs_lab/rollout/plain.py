"""Sampling by Hugging Face's own ``generate``, for models whose prompts cannot be shared.

Every response has a copy of its prompt; the random numbers and the choice of tokens are ours, so that seeds mean the
same as in :mod:`specs_lab.rollout.inprocess`. Of the model's own generation settings only the end tokens count: a
repetition penalty, say, would sample from another distribution than the one that is trained.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from transformers import GenerationConfig, LogitsProcessor, LogitsProcessorList

from specs_lab.models.prompts import Prompt
from specs_lab.models.vlm import VLM
from specs_lab.rollout.sampling import Completion, Sampling, Transcript, choose, random_numbers


class _Chooser(LogitsProcessor):
    """Makes the choice itself and leaves greedy decoding only that: every other token becomes impossible."""

    def __init__(self, vlm: VLM, names: Sequence[str], sampling: Sampling) -> None:
        self._random = random_numbers(names, sampling.max_new_tokens).to(vlm.device)
        self._never = torch.tensor(vlm.never_sampled, device=vlm.device)
        self._ends = torch.tensor(vlm.end_ids, device=vlm.device)
        self._sampling = sampling
        self.transcript = Transcript(len(names), sampling.max_new_tokens, vlm.pad_id, vlm.device)
        self._alive = torch.ones(len(names), dtype=torch.bool, device=vlm.device)
        self._step = 0

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """``generate``'s hook: (B, T) tokens so far and (B, V) logits to the logits to decode from."""
        del input_ids
        random = self._random[:, self._step]
        tokens, logprobs = choose(scores.float(), self._sampling.temperature, random, self._never, self._sampling.top_p)
        self.transcript.write(self._step, torch.arange(len(tokens)), tokens, logprobs, self._alive)
        self._alive &= ~torch.isin(tokens, self._ends)
        self._step += 1
        return torch.full_like(scores, -torch.inf).scatter_(1, tokens[:, None], 0.0)


def generate_plain(
    vlm: VLM, prompts: Sequence[Prompt], keys: Sequence[Sequence[str]], sampling: Sampling
) -> list[Completion]:
    """One response for every name, prompts one after the other; to be called inside ``vlm.inference()``.

    Args:
        vlm: The model.
        prompts: P prompts.
        keys: For each prompt, one name per response wanted.
        sampling: How to draw.
    """
    expanded = [prompt for prompt, names in zip(prompts, keys, strict=True) for _ in names]
    width = max(len(prompt.token_ids) for prompt in expanded)
    token_ids = torch.full((len(expanded), width), vlm.pad_id)
    attention_mask = torch.zeros_like(token_ids)
    for i, prompt in enumerate(expanded):  # `generate` continues at the right end
        token_ids[i, width - len(prompt.token_ids) :] = prompt.token_ids
        attention_mask[i, width - len(prompt.token_ids) :] = 1
    inputs = {
        "input_ids": token_ids,
        "attention_mask": attention_mask,
        **vlm.family.plain_inputs(expanded, token_ids),
    }
    chooser = _Chooser(vlm, [name for names in keys for name in names], sampling)
    settings = GenerationConfig(
        do_sample=False,
        max_new_tokens=sampling.max_new_tokens,
        eos_token_id=vlm.end_ids,
        pad_token_id=vlm.pad_id,
    )
    with _generation_config(vlm.core, settings), vlm.computing():
        vlm.core.generate(
            **{name: value.to(vlm.device) for name, value in inputs.items()},
            logits_processor=LogitsProcessorList([chooser]),
            synced_gpus=False,  # processes that hold the model in shares go in step by themselves
        )
    return chooser.transcript.completions(vlm.end_ids)


@contextmanager
def _generation_config(core: Any, settings: GenerationConfig) -> Iterator[None]:
    """The model's generation settings replaced: those passed to ``generate`` are only laid over its own."""
    own = core.generation_config
    core.generation_config = settings
    try:
        yield
    finally:
        core.generation_config = own
