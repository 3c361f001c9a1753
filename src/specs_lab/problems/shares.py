"""Shares rows of a dataset out to our splits, so that no picture, and no question without one, is in two of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from specs_lab.core.seeding import derive_seed
from specs_lab.problems.base import SPLITS, Split

SHARES: Mapping[Split, int] = {"train": 8, "id": 1, "ood": 1}
"""How splits share a table of the dataset: procedural problems are split alike."""


def tables_of(splits: Mapping[str, str]) -> dict[str, tuple[Split, ...]]:
    """Which of our splits each split of the dataset serves; those that name none share the training table.

    Args:
        splits: Our split to the dataset's.
    """
    tables: dict[str, list[Split]] = {}
    for split in SPLITS:
        tables.setdefault(splits.get(split, splits["train"]), []).append(split)
    return {table: tuple(ours) for table, ours in tables.items()}


def shared_out(
    keys: Sequence[Iterable[str]], tables: Sequence[str], serves: Mapping[str, Sequence[Split]]
) -> list[Split | None]:
    """The split of every row.

    Rows that have a key in common, directly or by way of others, are one group. All of a group goes to the same split,
    chosen by hash among those that its tables serve; where the dataset itself has put parts of a group into tables of
    different splits, the training split keeps its part, and the others are given up.

    Args:
        keys: What each row consists of, at least one key a row.
        tables: Each row's table.
        serves: The splits that a table serves.

    Returns:
        The splits; None for a row that is given up.
    """
    groups = _groups(keys)
    chosen: dict[tuple[str, str], Split] = {}
    first: dict[str, Split] = {}
    for group, table in zip(groups, tables, strict=True):
        split = chosen.setdefault((group, table), _choose(group, serves[table]))
        known = first.setdefault(group, split)
        first[group] = known if SPLITS.index(known) <= SPLITS.index(split) else split
    assigned: list[Split | None] = []
    for group, table in zip(groups, tables, strict=True):
        split = chosen[group, table]
        assigned.append(split if split == first[group] else None)
    return assigned


def _choose(group: str, splits: Sequence[Split]) -> Split:
    """One of the splits, by hash, with their shares as probabilities."""
    bucket = derive_seed("split", group) % sum(SHARES[split] for split in splits)
    for split in splits:
        bucket -= SHARES[split]
        if bucket < 0:
            return split
    raise ValueError("a table serves no split")


def _groups(keys: Sequence[Iterable[str]]) -> list[str]:
    """The group of each row, named by the least key of the group, whatever the order of the rows."""
    parent: dict[str, str] = {}

    def root(key: str) -> str:
        parent.setdefault(key, key)
        while parent[key] != key:
            parent[key] = parent[parent[key]]
            key = parent[key]
        return key

    firsts: list[str] = []
    for row in keys:
        first, *others = sorted(row)
        firsts.append(first)
        for other in others:
            low, high = sorted((root(first), root(other)))
            parent[high] = low
        root(first)
    return [root(first) for first in firsts]
