"""Sampling in the training process: each prompt is prefilled once, its cache expanded, finished rows dropped.

Prompts are left-padded for the prefill (a batch needs one cache length) and their own M-RoPE positions are kept, so
padding changes nothing but rounding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from transformers import DynamicCache

from specs_lab.models.vlm import VLM, Prompt
from specs_lab.rollout.sampling import Completion, Sampling, pick, uniforms

_COMPACT_BELOW = 0.75
"""Finished rows are dropped once fewer than this share of rows is alive; dropping them copies the cache."""


@dataclass
class _Decoder:
    """The rows that are still being decoded; ``rows`` maps each to its place in the result."""

    cache: DynamicCache
    attention: Tensor
    positions: Tensor
    rows: Tensor
    alive: Tensor

    def compact(self) -> None:
        """Drops finished rows, when there are enough of them to be worth it."""
        if self.alive.float().mean() >= _COMPACT_BELOW:
            return
        keep = self.alive.nonzero()[:, 0]
        self.cache.batch_select_indices(keep)
        self.attention, self.positions = self.attention[keep], self.positions[keep]
        self.rows, self.alive = self.rows[keep], self.alive[keep]


def generate(
    vlm: VLM, prompts: Sequence[Prompt], keys: Sequence[Sequence[str]], sampling: Sampling, *, batch_size: int = 128
) -> list[list[Completion]]:
    """Samples responses.

    Args:
        vlm: The model; left in the mode it was in.
        prompts: P prompts.
        keys: For each prompt, one name per response wanted; it fixes the response's random numbers.
        sampling: How to draw.
        batch_size: How many responses to decode side by side; changes no result beyond rounding.

    Returns:
        For each prompt its responses, in the order of its keys.
    """
    order = sorted(range(len(prompts)), key=lambda i: len(prompts[i].token_ids))  # like lengths together: less padding
    results: list[list[Completion]] = [[] for _ in prompts]
    with vlm.inference():
        while order:
            batch: list[int] = []
            while order and sum(len(keys[i]) for i in batch) + len(keys[order[0]]) <= max(
                batch_size, len(keys[order[0]])
            ):
                batch.append(order.pop(0))
            made = _generate_batch(vlm, [prompts[i] for i in batch], [keys[i] for i in batch], sampling)
            for i, completions in zip(batch, made, strict=True):
                results[i] = completions
    return results


def _prefill(vlm: VLM, prompts: Sequence[Prompt]) -> tuple[DynamicCache, Tensor, Tensor]:
    """Runs the prompts; returns the cache, the attention mask (P, T), and the logits after each prompt (P, V)."""
    width = max(len(prompt.token_ids) for prompt in prompts)
    ids = torch.full((len(prompts), width), vlm.pad_id)
    mask = torch.zeros((len(prompts), width), dtype=torch.long)
    positions = torch.zeros((3, len(prompts), width), dtype=torch.long)
    for i, prompt in enumerate(prompts):
        start = width - len(prompt.token_ids)
        ids[i, start:], mask[i, start:], positions[:, i, start:] = prompt.token_ids, 1, prompt.position_ids
    cache = DynamicCache(config=vlm.core.config.get_text_config())
    mask = mask.to(vlm.device)
    output = vlm.core.model(
        input_ids=ids.to(vlm.device),
        attention_mask=mask,
        position_ids=positions.to(vlm.device),
        mm_encoder_outputs=vlm.encoder_outputs(prompts),
        past_key_values=cache,
        use_cache=True,
    )
    return cache, mask, vlm.core.lm_head(output.last_hidden_state[:, -1]).float()


def _generate_batch(
    vlm: VLM, prompts: Sequence[Prompt], keys: Sequence[Sequence[str]], sampling: Sampling
) -> list[list[Completion]]:
    cache, attention, logits = _prefill(vlm, prompts)
    owner = torch.tensor([i for i, names in enumerate(keys) for _ in names])
    noise = np.stack([uniforms(name, sampling.max_new_tokens) for names in keys for name in names])
    random = torch.from_numpy(noise).to(vlm.device)
    next_position = torch.tensor([prompt.next_position for prompt in prompts])[owner]
    if len(owner) != len(prompts):
        cache.batch_select_indices(owner.to(vlm.device))
    state = _Decoder(
        cache=cache,
        attention=attention[owner],
        positions=next_position.to(vlm.device),
        rows=torch.arange(len(owner)),
        alive=torch.ones(len(owner), dtype=torch.bool),
    )
    tokens = torch.full((len(owner), sampling.max_new_tokens), vlm.pad_id)
    scores = torch.zeros((len(owner), sampling.max_new_tokens))
    lengths = torch.zeros(len(owner), dtype=torch.long)
    logits = logits[owner]
    for step in range(sampling.max_new_tokens):
        chosen, chosen_logprobs = _choose(vlm, logits, sampling.temperature, random[state.rows, step])
        here = state.rows[state.alive]
        tokens[here, step], scores[here, step] = chosen[state.alive], chosen_logprobs[state.alive]
        lengths[here] += 1
        state.alive &= chosen != vlm.end_id
        if not state.alive.any() or step + 1 == sampling.max_new_tokens:
            break
        lane = torch.arange(len(state.rows))
        before = state.rows
        state.compact()
        if len(state.rows) != len(before):
            lane = torch.searchsorted(before, state.rows)  # rows stay sorted
        logits = _advance(vlm, state, chosen[lane])
    ended = (tokens == vlm.end_id).any(dim=1)
    flat = [
        Completion(tuple(tokens[i, :n].tolist()), tuple(scores[i, :n].tolist()), truncated=not bool(ended[i]))
        for i, n in enumerate(lengths.tolist())
    ]
    result: list[list[Completion]] = [[] for _ in prompts]
    for prompt, completion in zip(owner.tolist(), flat, strict=True):
        result[prompt].append(completion)
    return result


def _choose(vlm: VLM, logits: Tensor, temperature: float, uniform: Tensor) -> tuple[Tensor, Tensor]:
    """Next tokens and their log-probabilities; placeholders of pictures are never sampled."""
    logprobs = torch.log_softmax(logits / (temperature or 1.0), dim=-1)
    allowed = logits.clone()
    allowed[:, vlm.never_sampled] = -torch.inf
    chosen = pick(allowed, temperature, uniform)
    return chosen.cpu(), logprobs.gather(1, chosen[:, None])[:, 0].cpu()


def _advance(vlm: VLM, state: _Decoder, tokens: Tensor) -> Tensor:
    """Feeds one token a row; returns the next logits, (rows, V)."""
    ones = torch.ones((len(tokens), 1), dtype=state.attention.dtype, device=state.attention.device)
    state.attention = torch.cat([state.attention, ones], dim=1)
    output = vlm.core.model(
        input_ids=tokens[:, None].to(vlm.device),
        attention_mask=state.attention,
        position_ids=state.positions[None, :, None].expand(3, -1, 1),
        past_key_values=state.cache,
        use_cache=True,
    )
    state.positions = state.positions + 1
    return vlm.core.lm_head(output.last_hidden_state[:, -1]).float()
