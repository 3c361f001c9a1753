"""Micro-batches filled by tokens: rows of a study differ too much in length for a count of rows to bound memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from specs_lab.models.prompts import Row, by_prompt

T = TypeVar("T")


def micro_batches(
    items: Sequence[T], rows: Callable[[T], Sequence[Row]], tokens: Callable[[Sequence[Row]], int], limit: int
) -> list[list[T]]:
    """Cuts items into consecutive parts that hold at most ``limit`` tokens each.

    Items that share a prompt stay together as far as the limit allows, and prompts of like length lie next to each
    other. An item that alone exceeds the limit is a part of its own.

    Args:
        items: What to cut up.
        rows: The rows of an item, at least one.
        tokens: What a pass over rows has to encode, e.g. :meth:`VLM.tokens_to_encode`.
        limit: Most tokens in one part.
    """
    parts: list[list[T]] = []
    filled: list[Row] = []
    for item in _ordered(items, rows):
        wanted = [*filled, *rows(item)]
        if parts and tokens(wanted) <= limit:
            parts[-1].append(item)
            filled = wanted
        else:
            parts.append([item])
            filled = list(rows(item))
    return parts


def _ordered(items: Sequence[T], rows: Callable[[T], Sequence[Row]]) -> list[T]:
    groups = by_prompt([rows(item)[0] for item in items])
    groups.sort(key=lambda members: len(rows(items[members[0]])[0].prompt.token_ids))
    return [items[index] for members in groups for index in members]
