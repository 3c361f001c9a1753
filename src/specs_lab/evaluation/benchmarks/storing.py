"""Items as JSON, so that responses can be scored again without the dataset."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from specs_lab.core.pictures import IMAGE_MARKER
from specs_lab.evaluation.benchmarks.base import Item
from specs_lab.problems.rows import ProblemRow

_LISTS = ("choices",)


def item_json(item: Item) -> str:
    """An item but for its pictures."""
    row = {field.name: getattr(item.row, field.name) for field in fields(item.row) if field.name != "images"}
    whole = {"row": {**row, "about": dict(item.row.about)}, "extra": dict(item.extra)}
    return json.dumps(whole, ensure_ascii=False, sort_keys=True)


def item_of(text: str) -> Item:
    """The item that :func:`item_json` wrote; None stands for each picture that its question has a place for.

    Raises:
        ValueError: If it is none.
    """
    try:
        read: Mapping[str, Any] = json.loads(text)
        row = {**read["row"], **{name: tuple(read["row"][name]) for name in _LISTS}}
        return Item(row=ProblemRow(**row, images=(None,) * row["question"].count(IMAGE_MARKER)), extra=read["extra"])
    except (TypeError, KeyError) as error:
        raise ValueError(f"no item of a benchmark: {text[:80]!r}") from error
