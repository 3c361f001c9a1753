"""Prompts of which some tokens cannot be read: d1's regularisation (arXiv 2504.12216, section 3.2).

d1 trains on the same rollouts several times and masks each prompt token with probability 0.15, anew in every update, so
that the updates differ. There it also makes the estimate of a diffusion model's log-probabilities; an autoregressive
model needs no estimate, and what remains is the regularisation. Deviations: the padding token stands for d1's mask
token, pictures and the marks of the chat template stay, and the log-probabilities that ratios are taken over, and the
reference's, are those of the whole prompt.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from specs_lab.core.seeding import numpy_rng
from specs_lab.models.prompts import Prompt, Row
from specs_lab.models.vlm import VLM


def masked_rows(rows: Sequence[Row], share: float, vlm: VLM, name: str) -> list[Row]:
    """The rows with masked prompts; rows of the same prompt object share the masked one.

    Args:
        rows: Prompts with completions.
        share: Share of the prompt's text tokens that are masked.
        vlm: Knows which tokens are no text.
        name: Names the random numbers.
    """
    if not share:
        return list(rows)
    kept = torch.tensor(sorted({*vlm.never_sampled, *vlm.tokenizer.all_special_ids}))
    masked: dict[int, Prompt] = {}
    for row in rows:
        if id(row.prompt) not in masked:
            masked[id(row.prompt)] = _masked(row.prompt, share, kept, vlm.pad_id, f"{name}/{len(masked)}")
    return [replace(row, prompt=masked[id(row.prompt)]) for row in rows]


def _masked(prompt: Prompt, share: float, kept: torch.Tensor, mask_id: int, name: str) -> Prompt:
    ids = prompt.token_ids
    drawn = torch.from_numpy(numpy_rng("prompt mask", name).random(len(ids))) < share
    drawn &= ~torch.isin(ids, kept)
    return replace(prompt, token_ids=torch.where(drawn, torch.full_like(ids, mask_id), ids))
