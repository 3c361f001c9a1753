"""Tables of one's own, whose columns the options name: question, answer, images, choices, kind, family and so on."""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping
from typing import Any

from specs_lab.problems.readers.base import READERS, Place, pictures_of, problem, stated, text_of
from specs_lab.problems.rows import BrokenRow, ProblemRow

ROLES = ("id", "question", "answer", "images", "choices", "kind", "precision", "unit", "family", "reasoning")
"""What columns can be."""


@READERS.register("columns")
def read(row: Mapping[str, Any], place: Place) -> ProblemRow:
    """Reads a row; a column that is not named is looked for under its role's own name."""
    cells = {role: row.get(place.columns.get(role, role)) for role in ROLES}
    kind = text_of(cells, "kind") or None
    if kind is not None:
        _check_kind(kind)
    images = cells["images"] if cells["images"] is not None or "images" in place.columns else row.get("image")
    return problem(
        place,
        id=text_of(cells, "id") or str(place.number),
        question=text_of(cells, "question"),
        answer=stated(text_of(cells, "answer")),
        images=pictures_of(images, needed=False),
        kind=kind,
        choices=_choices(cells["choices"]),
        precision=_number(cells["precision"]),
        unit=text_of(cells, "unit") or None,
        family=text_of(cells, "family"),
        reasoning=text_of(cells, "reasoning"),
    )


def _check_kind(kind: str) -> None:
    from specs_lab.rewards.inference import ALIASES
    from specs_lab.rewards.kinds.base import KINDS

    if ALIASES.get(kind, kind) not in KINDS:
        raise BrokenRow("bad_value", f"'{kind}' is no type of answer")


def _choices(value: Any) -> tuple[str, ...]:
    """The options of a cell: a list of texts, or one written as text."""
    if isinstance(value, str) and value.strip():
        value = _listed(value)
    if value is None or value == "":
        return ()
    if not isinstance(value, list | tuple) or not all(isinstance(one, str | int | float) for one in value):
        raise BrokenRow("bad_value", "its choices are no list of texts")
    return tuple(str(one).strip() for one in value)


def _listed(text: str) -> Any:
    for read_list in (json.loads, ast.literal_eval):
        try:
            return read_list(text)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
    raise BrokenRow("bad_value", "its choices are no list of texts")


def _number(value: Any) -> float | None:
    if value is None or value == "":
        return None
    try:
        return float(value)
    except (TypeError, ValueError) as error:
        raise BrokenRow("bad_value", f"{value!r} is no precision") from error
