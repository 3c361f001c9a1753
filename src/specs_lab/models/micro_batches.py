"""Micro-batches filled by tokens: rows of a study differ too much in length for a count of rows to bound memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from specs_lab.models.prompts import Row, by_prompt

T = TypeVar("T")


class _Part:
    """What a part under construction has to encode."""

    def __init__(self, shared: bool) -> None:
        self._shared = shared
        self._prompts: set[int] = set()
        self._tokens = self._rows = self._longest = 0

    def tokens_with(self, rows: Sequence[Row]) -> int:
        """Tokens, padding included, once ``rows`` are added."""
        if not self._shared:
            return (self._rows + len(rows)) * max(self._longest, *(_length(row) for row in rows))
        new = {id(row.prompt): len(row.prompt.token_ids) for row in rows if id(row.prompt) not in self._prompts}
        return self._tokens + sum(new.values()) + sum(len(row.completion) for row in rows)

    def add(self, rows: Sequence[Row]) -> None:
        """Adds rows."""
        self._tokens = self.tokens_with(rows)
        self._prompts.update(id(row.prompt) for row in rows)
        self._rows += len(rows)
        self._longest = max(self._longest, *(_length(row) for row in rows))


def _length(row: Row) -> int:
    return len(row.prompt.token_ids) + len(row.completion)


def micro_batches(
    items: Sequence[T], rows: Callable[[T], Sequence[Row]], limit: int, *, shared: bool = True
) -> list[list[T]]:
    """Cuts items into consecutive parts that hold at most ``limit`` tokens each.

    Items that share a prompt stay together as far as the limit allows, and prompts of like length lie next to each
    other. An item that alone exceeds the limit is a part of its own.

    Args:
        items: What to cut up.
        rows: The rows of an item, at least one.
        limit: Most tokens in one part.
        shared: Rows with the same prompt encode it once; otherwise every row has a copy, padded to the longest row.
    """
    parts: list[list[T]] = []
    part = _Part(shared)
    for item in _ordered(items, rows):
        added = rows(item)
        if parts and part.tokens_with(added) <= limit:
            parts[-1].append(item)
        else:
            parts.append([item])
            part = _Part(shared)
        part.add(added)
    return parts


def part_tokens(rows: Sequence[Row], *, shared: bool = True) -> int:
    """Tokens of one part with these rows, as :func:`micro_batches` counts them."""
    return _Part(shared).tokens_with(rows)


def _ordered(items: Sequence[T], rows: Callable[[T], Sequence[Row]]) -> list[T]:
    groups = by_prompt([rows(item)[0] for item in items])
    groups.sort(key=lambda members: len(rows(items[members[0]])[0].prompt.token_ids))
    return [items[index] for members in groups for index in members]
