"""What a model is asked and what it answered, as tokens: the units that everything above the models works with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass(frozen=True)
class Prompt:
    """A tokenised user turn with its pictures.

    Attributes:
        token_ids: (P,) int64, image placeholders expanded.
        position_ids: (axes, P) int64: three axes for M-RoPE (temporal, height, width), one elsewhere.
        vision: Inputs of the vision tower for this prompt's pictures, by the names under which the model takes them;
            empty without pictures.
        key: Identifies the pictures for the feature cache.
    """

    token_ids: Tensor
    position_ids: Tensor
    vision: Mapping[str, Tensor]
    key: str

    @property
    def next_position(self) -> int:
        """Position of the first completion token (the same on all axes)."""
        return int(self.position_ids.max()) + 1


def continued(prompt: Prompt, token_ids: Sequence[int]) -> Prompt:
    """A prompt with the beginning of a response behind it, for a model to go on from."""
    start = prompt.next_position
    more = torch.tensor(list(token_ids), dtype=prompt.token_ids.dtype)
    positions = torch.arange(start, start + len(more)).to(prompt.position_ids).expand(len(prompt.position_ids), -1)
    return replace(
        prompt,
        token_ids=torch.cat([prompt.token_ids, more]),
        position_ids=torch.cat([prompt.position_ids, positions], dim=1),
    )


@dataclass(frozen=True)
class Row:
    """A prompt with one completion, the unit of training.

    Rows that hold the *same* prompt object share its encoding when they are scored together.

    Attributes:
        prompt: The prompt.
        completion: Completion token ids, including the end token when the completion ended by itself.
    """

    prompt: Prompt
    completion: tuple[int, ...]


def by_prompt(rows: Sequence[Row]) -> list[list[int]]:
    """Indices of rows that share a prompt, prompts in order of appearance."""
    groups: dict[int, list[int]] = {}
    for index, row in enumerate(rows):
        groups.setdefault(id(row.prompt), []).append(index)
    return list(groups.values())


def row_tokens(rows: Sequence[Row]) -> int:
    """Tokens of a batch: every prompt once, every completion; what a pass with shared prompts has to encode."""
    prompts = {id(row.prompt): len(row.prompt.token_ids) for row in rows}
    return sum(prompts.values()) + sum(len(row.completion) for row in rows)
