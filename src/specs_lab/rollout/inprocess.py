"""Sampling in the training process, with the weights as they are.

Each prompt is encoded once, packed with others without padding; its responses read its keys and values where they are;
finished rows are dropped. Models whose prompts cannot be shared go through :mod:`specs_lab.rollout.plain`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from specs_lab.core.errors import Fault, UserError
from specs_lab.models.attention import DecodePlan, PrefillPlan
from specs_lab.models.memory import in_parts
from specs_lab.models.prompts import Prompt
from specs_lab.models.vlm import VLM
from specs_lab.rollout.plain import generate_plain
from specs_lab.rollout.sampling import Completion, Sampling, Transcript, choose, random_numbers

_COMPACT_BELOW = 0.75
"""Finished rows are dropped once fewer than this share of rows is alive; dropping them copies the rows' caches."""
_PREFILL_TOKENS = 1 << 14
"""Tokens of prompts in one forward pass."""
_LOG = logging.getLogger(__name__)
_ROOM: WeakKeyDictionary[VLM, int] = WeakKeyDictionary()
"""How many responses at once of a model there is memory for, once it has run out."""


def generate(
    vlm: VLM, prompts: Sequence[Prompt], keys: Sequence[Sequence[str]], sampling: Sampling, *, batch_size: int = 128
) -> list[list[Completion]]:
    """Samples responses.

    Args:
        vlm: The model; left in the mode it was in.
        prompts: P prompts.
        keys: For each prompt, one name per response wanted; it fixes the response's random numbers.
        sampling: How to draw.
        batch_size: How many responses to decode side by side; changes no result beyond rounding. Where memory does not
            do for so many it is halved, for this model from then on.

    Returns:
        For each prompt its responses, in the order of its keys.

    Raises:
        UserError: If memory does not do for a single response.
    """
    results: list[list[Completion]] = [[] for _ in prompts]
    one_batch = _generate_batch if vlm.shares_prompts else generate_plain
    # Inference mode is a tenth faster, as no view is tracked; what shares are gathered into is used in training too.
    with vlm.inference(), torch.inference_mode() if vlm.shards is None else torch.no_grad():
        for batch in _batches(prompts, keys, room(vlm, batch_size)):
            wanted = [(i, name) for i, names in batch for name in names]
            for (i, _), one in zip(wanted, _within_memory(vlm, prompts, wanted, one_batch, sampling), strict=True):
                results[i].append(one)
    return results


def room(vlm: VLM, batch_size: int) -> int:
    """How many responses are decoded side by side: ``batch_size``, or less if memory has not done for so many."""
    return min(batch_size, _ROOM.get(vlm, batch_size))


def _within_memory(
    vlm: VLM,
    prompts: Sequence[Prompt],
    wanted: Sequence[tuple[int, str]],
    one_batch: Callable[[VLM, Sequence[Prompt], Sequence[Sequence[str]], Sampling], list[Completion]],
    sampling: Sampling,
) -> list[Completion]:
    """One response for each (index of its prompt, name), at once or in as many parts as memory asks for."""

    def make(part: Sequence[tuple[int, str]]) -> list[Completion]:
        groups = [(i, [name for _, name in group]) for i, group in groupby(part, key=lambda one: one[0])]
        return one_batch(vlm, [prompts[i] for i, _ in groups], [names for _, names in groups], sampling)

    made: list[Completion] = []
    try:
        for part, completions in in_parts(vlm, wanted, make):
            made += completions
            if len(part) < room(vlm, len(wanted)):
                _ROOM[vlm] = len(part)
                _LOG.warning("memory ran out: %d responses at once from here on, not %d", len(part), len(wanted))
    except MemoryError as error:
        longest = max((prompts[i] for i, _ in wanted), key=lambda prompt: len(prompt.token_ids))
        what = (
            f"memory does not do for sampling up to {sampling.max_new_tokens} tokens after {len(longest.token_ids)} of "
            f"a prompt ({longest.key}): {error}"
        )
        fix = "lower trainer.sample_batch_size, max_new_tokens or model.max_pixels"
        raise UserError([Fault("sampling", what, fix)]) from None
    return made


def _batches(
    prompts: Sequence[Prompt], keys: Sequence[Sequence[str]], batch_size: int
) -> Iterator[list[tuple[int, Sequence[str]]]]:
    """Batches of (prompt, names) with up to ``batch_size`` names; prompts of like length together, large ones cut."""
    batch: list[tuple[int, Sequence[str]]] = []
    room = batch_size
    for i in sorted(range(len(prompts)), key=lambda i: len(prompts[i].token_ids)):
        rest = keys[i]
        while rest:
            if room <= 0 or (len(rest) > room and len(rest) <= batch_size):  # cut only what fits no batch whole
                yield batch
                batch, room = [], batch_size
            batch.append((i, rest[:room]))
            rest, room = rest[room:], room - len(rest[:room])
    if batch:
        yield batch


def prefill(vlm: VLM, prompts: Sequence[Prompt], most_tokens: int = _PREFILL_TOKENS) -> tuple[PrefillPlan, Tensor]:
    """Encodes prompts; returns their keys and values, and the logits behind each, (P, V).

    Args:
        vlm: The model.
        prompts: At least one.
        most_tokens: In one forward pass; a longer prompt has a pass of its own.
    """
    made = [_prefill_part(vlm, part) for part in _parts(prompts, most_tokens)]
    return PrefillPlan.joined([plan for plan, _ in made]), torch.cat([logits for _, logits in made])


def _parts(prompts: Sequence[Prompt], most_tokens: int) -> Iterator[list[Prompt]]:
    part: list[Prompt] = []
    for prompt in prompts:
        if part and sum(len(p.token_ids) for p in part) + len(prompt.token_ids) > most_tokens:
            yield part
            part = []
        part.append(prompt)
    yield part


def _prefill_part(vlm: VLM, prompts: Sequence[Prompt]) -> tuple[PrefillPlan, Tensor]:
    plan = PrefillPlan([len(prompt.token_ids) for prompt in prompts])
    token_ids = torch.cat([prompt.token_ids for prompt in prompts])[None]
    position_ids = torch.cat([prompt.position_ids for prompt in prompts], dim=1)[:, None]
    ends = torch.tensor(plan.lengths).cumsum(0) - 1

    def logits() -> Tensor:
        states = vlm.text_hidden_states(token_ids, position_ids, plan, prompts)
        return vlm.logits(states[0, ends.to(states.device)])

    return plan, vlm.one_pass(logits)


@dataclass
class _Rows:
    """The rows that are still being decoded.

    Attributes:
        plan: Their keys and values.
        places: (R,) int64, which response each row is.
        positions: (axes, R) int64, position of the token to come.
        alive: (R,) bool, which have not ended.
    """

    plan: DecodePlan
    places: Tensor
    positions: Tensor
    alive: Tensor

    def drop_finished(self, tokens: Tensor) -> Tensor:
        """Drops finished rows; returns those of ``tokens`` that belong to rows still here."""
        keep = self.alive.nonzero()[:, 0]
        self.plan.keep(keep)
        self.places, self.positions, self.alive = self.places[keep], self.positions[:, keep], self.alive[keep]
        return tokens[keep]


def _generate_batch(
    vlm: VLM, prompts: Sequence[Prompt], keys: Sequence[Sequence[str]], sampling: Sampling
) -> list[Completion]:
    """One response for every name, prompts one after the other."""
    plan, logits = prefill(vlm, prompts)
    device = logits.device
    owners = torch.tensor([i for i, names in enumerate(keys) for _ in names], device=device)
    random = random_numbers([name for names in keys for name in names], sampling.max_new_tokens).to(device)
    starts = torch.tensor([prompt.next_position for prompt in prompts], device=device)[owners]
    rows = _Rows(
        plan=DecodePlan(plan, owners),
        places=torch.arange(len(owners), device=device),
        positions=starts.expand(len(prompts[0].position_ids), -1),
        alive=torch.ones(len(owners), dtype=torch.bool, device=device),
    )
    never, ends = (torch.tensor(ids, device=device) for ids in (vlm.never_sampled, vlm.end_ids))
    transcript = Transcript(len(owners), sampling.max_new_tokens, vlm.pad_id, device)
    logits = logits[owners]
    for step in range(sampling.max_new_tokens):
        tokens, logprobs = choose(logits, sampling.temperature, random[rows.places, step], never, sampling.top_p)
        transcript.write(step, rows.places, tokens, logprobs, rows.alive)
        rows.alive &= ~torch.isin(tokens, ends)
        alive = int(rows.alive.sum())  # the one thing that a step waits for
        if step + 1 == sampling.max_new_tokens or not alive:
            break
        if alive < _COMPACT_BELOW * len(tokens):
            tokens = rows.drop_finished(tokens)
        logits = _advance(vlm, rows, tokens)
    return transcript.completions(vlm.end_ids)


def _advance(vlm: VLM, rows: _Rows, tokens: Tensor) -> Tensor:
    """Feeds one token a row; returns the next logits, (R, V)."""
    logits = vlm.one_pass(
        lambda: vlm.logits(vlm.text_hidden_states(tokens[:, None], rows.positions[..., None], rows.plan)[:, 0])
    )
    rows.plan.steps += 1
    rows.positions = rows.positions + 1
    return logits
