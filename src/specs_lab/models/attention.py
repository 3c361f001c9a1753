"""Attention over packed sequences, where completions branch off one encoding of their prompt.

Registered with transformers under :data:`BRANCH_ATTENTION`. A call that carries an :class:`AttentionPlan` (as the
keyword ``attention_plan``, which transformers hands through to every layer) is carried out by the plan; any other call
is ordinary SDPA, so that the model remains a plain Hugging Face model.

Training packs everything into one row without padding::

    prompt A | branch A1 | branch A2 | prompt B | branch B1 | ...

A branch attends to its own prompt and causally to itself, never to its siblings. This is exact: position for position
the same sums as one row per completion. It needs no mask over the whole row, no cache, and holds under gradient
checkpointing, where a cache of the prompt would silently go wrong.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

BRANCH_ATTENTION = "specs_lab_branches"
"""Name of the attention implementation in transformers' registry."""


class AttentionPlan(ABC):
    """Says which position attends to which, for one forward pass; no plan outlives its layout.

    Attributes:
        calls: Layers that have asked so far. A model that does not ask computes something else, silently: whoever
            passes a plan compares.
    """

    def __init__(self) -> None:
        self.calls = 0

    @abstractmethod
    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scaling: float) -> Tensor:
        """Attention of one layer.

        Args:
            layer: The layer's index.
            query: (B, heads, T, head dim), positions encoded.
            key: (B, key-value heads, T, head dim), positions encoded.
            value: As ``key``.
            scaling: Factor of the scores.

        Returns:
            (B, T, heads, head dim).
        """


def _branch_attention(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    attention_plan: AttentionPlan | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """The function that transformers calls in every layer of the language model."""
    if attention_plan is None:
        return sdpa_attention_forward(
            module, query, key, value, attention_mask, scaling=scaling, dropout=dropout, **kwargs
        )
    if scaling is None:
        scaling = query.shape[-1] ** -0.5
    attention_plan.calls += 1
    return attention_plan.attend(int(module.layer_idx), query, key, value, scaling), None  # type: ignore[arg-type]


AttentionInterface.register(BRANCH_ATTENTION, _branch_attention)
AttentionMaskInterface.register(BRANCH_ATTENTION, sdpa_mask)


def no_mask(device: torch.device) -> Tensor:
    """What to pass as ``attention_mask`` beside a plan: four dimensions, so transformers takes it as finished."""
    return torch.ones(1, 1, 1, 1, dtype=torch.bool, device=device)


def _sdpa(query: Tensor, key: Tensor, value: Tensor, scaling: float, mask: Tensor | None = None) -> Tensor:
    """Causal attention, or attention under a mask; fewer key-value heads than heads are shared among them."""
    grouped = query.shape[1] != key.shape[1]
    if grouped and query.is_cuda and (mask is not None or query.dtype == torch.float32):
        # With shared heads and a mask, or float32, CUDA has only the kernel that writes all scores to memory.
        repeats = query.shape[1] // key.shape[1]
        key, value = key.repeat_interleave(repeats, dim=1), value.repeat_interleave(repeats, dim=1)
        grouped = False
    return F.scaled_dot_product_attention(
        query, key, value, attn_mask=mask, is_causal=mask is None, scale=scaling, enable_gqa=grouped
    )


@dataclass(frozen=True)
class Group:
    """A prompt and the completions behind it, as lengths in tokens; ``branches`` are all above zero."""

    prefix: int
    branches: tuple[int, ...]

    @property
    def tokens(self) -> int:
        """Tokens of the group in the packed row."""
        return self.prefix + sum(self.branches)

    @property
    def is_plain(self) -> bool:
        """Whether nothing branches: at most one completion, an ordinary causal sequence."""
        return len(self.branches) <= 1


class BranchPlan(AttentionPlan):
    """Training: groups one behind the other in one row.

    Args:
        groups: Their lengths, in the order of the row.
    """

    def __init__(self, groups: Sequence[Group]) -> None:
        super().__init__()
        # Neighbours of one length in which nothing branches are an ordinary batch.
        runs = groupby(groups, key=lambda group: group.tokens if group.is_plain else group)
        self._runs = [(members[0], len(members)) for members in (list(run) for _, run in runs)]
        # One split for the whole row: the gradient of many slices would be many full-size tensors.
        self._sizes = [size for group, count in self._runs for size in self._parts(group, count)]
        self._masks: dict[tuple[int, int], Tensor] = {}

    @staticmethod
    def _parts(group: Group, count: int) -> tuple[int, ...]:
        return (count * group.tokens,) if group.is_plain else (group.prefix, sum(group.branches)) * count

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scaling: float) -> Tensor:
        """Attention of one layer; B is 1."""
        del layer
        parts = zip(*(x.split(self._sizes, dim=2) for x in (query, key, value)), strict=True)
        outputs: list[Tensor] = []
        for group, count in self._runs:
            if group.is_plain:
                rows = (_side_by_side(x, [group.tokens] * count) for x in next(parts))
                outputs.append(_sdpa(*rows, scaling=scaling).transpose(1, 2).flatten(0, 1)[None])
                continue
            for _ in range(count):
                prefix = next(parts)
                outputs.append(_sdpa(*prefix, scaling=scaling).transpose(1, 2))
                outputs.append(self._branches(group, prefix, next(parts), scaling))
        return torch.cat(outputs, dim=1) if len(outputs) > 1 else outputs[0]

    def _branches(
        self, group: Group, prefix: tuple[Tensor, ...], branches: tuple[Tensor, ...], scaling: float
    ) -> Tensor:
        """All branches of a group side by side: (1, tokens of the branches, heads, head dim)."""
        lengths = group.branches
        query, key, value = (_side_by_side(x, lengths) for x in branches)
        key, value = (
            torch.cat([before.expand(len(lengths), -1, -1, -1), own], dim=2)
            for before, own in zip(prefix[1:], (key, value), strict=True)
        )
        # Shorter branches are padded behind; what is behind, causality already hides.
        mask = self._mask(max(lengths), group.prefix, query)
        output = _sdpa(query, key, value, scaling, mask).transpose(1, 2)
        if len(set(lengths)) == 1:
            return output.reshape(1, -1, *output.shape[2:])
        return torch.cat([row[:length] for row, length in zip(output.unbind(), lengths, strict=True)])[None]

    def _mask(self, length: int, prefix: int, like: Tensor) -> Tensor:
        """(length, prefix + length): the whole prefix, and causally the branch itself; 0 or -inf."""
        if (length, prefix) not in self._masks:
            allowed = torch.ones(length, prefix + length, dtype=torch.bool, device=like.device).tril(prefix)
            mask = torch.zeros(allowed.shape, dtype=like.dtype, device=like.device)
            self._masks[length, prefix] = mask.masked_fill_(~allowed, -torch.inf)
        return self._masks[length, prefix]


def _side_by_side(x: Tensor, lengths: Sequence[int]) -> Tensor:
    """(1, heads, sum of lengths, d) to (branches, heads, longest, d), padded behind with zeros."""
    if len(set(lengths)) == 1:
        return x[0].unflatten(1, (len(lengths), lengths[0])).transpose(0, 1)
    return pad_sequence(list(x[0].transpose(0, 1).split(list(lengths))), batch_first=True).transpose(1, 2)


@dataclass(frozen=True)
class LayerCache:
    """Keys and values of prompts in one layer: (N, key-value heads, longest prompt, head dim), padded behind."""

    key: Tensor
    value: Tensor


class PrefillPlan(AttentionPlan):
    """Prompts one behind the other in one row, each causal; their keys and values are kept in ``layers``.

    Args:
        lengths: Tokens of each prompt.
    """

    def __init__(self, lengths: Sequence[int]) -> None:
        super().__init__()
        self.lengths = tuple(lengths)
        self.layers: dict[int, LayerCache] = {}

    @classmethod
    def joined(cls, plans: Sequence[PrefillPlan]) -> PrefillPlan:
        """The prompts of several passes as if they had been one."""
        if len(plans) == 1:
            return plans[0]
        whole = cls([length for plan in plans for length in plan.lengths])
        longest = max(whole.lengths)
        for layer in plans[0].layers:
            parts = [plan.layers[layer] for plan in plans]
            key, value = (
                torch.cat([F.pad(x, (0, 0, 0, longest - x.shape[2])) for x in kind])
                for kind in ([part.key for part in parts], [part.value for part in parts])
            )
            whole.layers[layer] = LayerCache(key, value)
        return whole

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scaling: float) -> Tensor:
        """Attention of one layer; B is 1."""
        query, key, value = (_side_by_side(x, self.lengths) for x in (query, key, value))
        self.layers[layer] = LayerCache(key, value)
        output = _sdpa(query, key, value, scaling).transpose(1, 2)
        return torch.cat([row[:length] for row, length in zip(output.unbind(), self.lengths, strict=True)])[None]


class DecodePlan(AttentionPlan):
    """Decoding: rows that share a prompt read its keys and values where they are, without copies of them.

    Every row has produced equally many tokens. Keys and values of these grow in place, in blocks. (In halves, keys
    are cast for the scores, one layer at a time.)

    Args:
        prefill: The prompts.
        owners: (R,) int64, the prompt of each row, ascending.
        block: Tokens by which the rows' caches grow.
    """

    def __init__(self, prefill: PrefillPlan, owners: Tensor, block: int = 64) -> None:
        super().__init__()
        self._prompts = prefill.layers
        self._lengths = torch.tensor(prefill.lengths, device=owners.device)
        self._block = block
        self._branches: dict[int, LayerCache] = {}
        self.steps = 0
        """Tokens that every row has been given so far; the caller counts them after each forward pass."""
        self._place(owners)

    def _place(self, owners: Tensor) -> None:
        """Gives each row a slot beside the other rows of its prompt."""
        self.owners = owners
        counts = torch.bincount(owners, minlength=len(self._lengths))
        first = counts.cumsum(0) - counts
        self._width = int(counts.max()) if len(owners) else 0
        slot = torch.arange(len(owners), device=owners.device) - first[owners]
        self._slots = owners * self._width + slot
        self._is_full = len(owners) == self._width * len(self._lengths)
        longest = int(self._lengths.max())
        behind = torch.arange(longest, device=owners.device)[None] >= self._lengths[:, None]
        self._padding = behind[:, None, None, :] if bool(behind.any()) else None

    def keep(self, rows: Tensor) -> None:
        """Drops all other rows, and prompts that no row is left of.

        Args:
            rows: Indices of the rows to keep, ascending.
        """
        owners = self.owners[rows]
        self._branches = {
            layer: LayerCache(cache.key[rows], cache.value[rows]) for layer, cache in self._branches.items()
        }
        prompts = torch.unique(owners)
        if len(prompts) < len(self._lengths):
            self._lengths = self._lengths[prompts]
            longest = int(self._lengths.max()) if len(prompts) else 0
            self._prompts = {
                layer: LayerCache(cache.key[prompts, :, :longest], cache.value[prompts, :, :longest])
                for layer, cache in self._prompts.items()
            }
            owners = torch.searchsorted(prompts, owners)
        self._place(owners)

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scaling: float) -> Tensor:
        """Attention of one layer for one new token in each row; T is 1."""
        prompt, branch = self._prompts[layer], self._append(layer, key, value)
        rows, heads, _, size = query.shape
        shared = key.shape[1]
        grouped = (query * scaling).reshape(rows, shared, heads // shared, size)
        over_prompt = _scores(self._to_slots(grouped), prompt.key)
        if self._padding is not None:
            over_prompt = over_prompt.masked_fill_(self._padding, -torch.inf)
        over_branch = self._to_slots(_scores(grouped, branch.key))
        scores = torch.cat([over_prompt, over_branch], dim=-1)
        weights = torch.softmax(scores, dim=-1).to(query.dtype)
        of_prompt, of_branch = weights.split([over_prompt.shape[-1], over_branch.shape[-1]], dim=-1)
        output = self._to_rows(of_prompt @ prompt.value) + self._to_rows(of_branch) @ branch.value
        return output.reshape(rows, 1, heads, size)

    def _append(self, layer: int, key: Tensor, value: Tensor) -> LayerCache:
        """Adds one token to the rows' caches; returns views of what is filled."""
        step = self.steps
        cache = self._branches.get(layer)
        if cache is None or step == cache.key.shape[2]:
            grown = []
            for old, new in ((cache and cache.key, key), (cache and cache.value, value)):
                room = new.new_empty(*new.shape[:2], step + self._block, new.shape[3])
                if old is not None:
                    room[:, :, :step] = old
                grown.append(room)
            cache = self._branches[layer] = LayerCache(*grown)
        cache.key[:, :, step], cache.value[:, :, step] = key[:, :, 0], value[:, :, 0]
        return LayerCache(cache.key[:, :, : step + 1], cache.value[:, :, : step + 1])

    def _to_slots(self, x: Tensor) -> Tensor:
        """(R, key-value heads, repeats, n) to (prompts, key-value heads, slots * repeats, n)."""
        if not self._is_full:
            room = x.new_zeros(len(self._lengths) * self._width, *x.shape[1:])
            x = room.index_copy_(0, self._slots, x)
        return x.unflatten(0, (-1, self._width)).transpose(1, 2).flatten(2, 3)

    def _to_rows(self, x: Tensor) -> Tensor:
        """The inverse of :meth:`_to_slots`."""
        x = x.unflatten(2, (self._width, -1)).transpose(1, 2).flatten(0, 1)
        return x if self._is_full else x[self._slots]


def _scores(query: Tensor, key: Tensor) -> Tensor:
    """Query times key; never in halves, whose rounding before the softmax the fused kernels of training do not have."""
    if query.dtype in (torch.float16, torch.bfloat16):
        query, key = query.float(), key.float()
    return query @ key.transpose(2, 3)
