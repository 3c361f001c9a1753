"""The layout of packed sequences: rows that share a prompt behind one copy of it, everything in one row.

A completion's last token predicts nothing that is asked for, so it is not part of the sequence; its first token is
predicted at the prompt's last position, from which all completions of the prompt branch off.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from specs_lab.models.attention import Group
from specs_lab.models.prompts import Prompt, Row, by_prompt


@dataclass(frozen=True)
class Packed:
    """Rows as one sequence of T tokens, of which N completion tokens are to be scored.

    Attributes:
        token_ids: (T,) int64.
        position_ids: (axes, T) int64.
        groups: Lengths of the prompts and of what branches off them.
        prompts: The prompts, in the order of the groups.
        of_prompts: (T,) bool, True at tokens of prompts: what a completion holds is never a placeholder of a picture.
        predictors: (N,) int64, where in the sequence each completion token is predicted; in the order of ``rows``.
        targets: (N,) int64, the completion tokens themselves.
        lengths: (B,) int64, completion tokens of each row.
    """

    token_ids: Tensor
    position_ids: Tensor
    groups: tuple[Group, ...]
    prompts: tuple[Prompt, ...]
    of_prompts: Tensor
    predictors: Tensor
    targets: Tensor
    lengths: Tensor


def pack(rows: Sequence[Row]) -> Packed:
    """Lays out rows; those with the same prompt object share it.

    Args:
        rows: At least one row, in any order.
    """
    tokens: list[Tensor] = []
    positions: list[Tensor] = []
    groups: list[Group] = []
    prompts: list[Prompt] = []
    predictors: dict[int, Tensor] = {}
    end = 0
    for members in by_prompt(rows):
        prompt = rows[members[0]].prompt
        size, axes = len(prompt.token_ids), len(prompt.position_ids)
        tokens.append(prompt.token_ids)
        positions.append(prompt.position_ids)
        fork, start = end + size - 1, prompt.next_position
        end += size
        branches: list[int] = []
        for index in members:
            completion = rows[index].completion
            fed = completion[:-1]
            body = torch.arange(end, end + len(fed))
            predictors[index] = torch.cat([torch.tensor([fork]), body]) if completion else body
            if fed:
                branches.append(len(fed))
                tokens.append(torch.tensor(fed))
                positions.append(torch.arange(start, start + len(fed)).expand(axes, -1))
                end += len(fed)
        groups.append(Group(size, tuple(branches)))
        prompts.append(prompt)
    return Packed(
        token_ids=torch.cat(tokens),
        position_ids=torch.cat(positions, dim=1),
        groups=tuple(groups),
        prompts=tuple(prompts),
        of_prompts=torch.cat([torch.arange(group.tokens) < group.prefix for group in groups]),
        predictors=torch.cat([predictors[index] for index in range(len(rows))]),
        targets=torch.tensor([token for row in rows for token in row.completion], dtype=torch.long),
        lengths=torch.tensor([len(row.completion) for row in rows]),
    )
