"""Reads the cells of a benchmark's row; what cannot be read makes the row a broken one, with a reason."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from specs_lab.core.errors import UserError
from specs_lab.core.pictures import IMAGE_MARKER
from specs_lab.problems.rows import BrokenRow, ProblemRow
from specs_lab.rewards.grader import read_gold, terms_of

_SHOWN = 80
_MARK = re.compile(rf"[ \t]*{IMAGE_MARKER}[ \t]*")


def text_in(row: Mapping[str, Any], name: str, *, blank: bool = False) -> str:
    """The text of a cell, without white space around it.

    Args:
        row: The row.
        name: The column.
        blank: Whether it may be missing or blank; it is then empty.

    Raises:
        BrokenRow: ``no_<name>`` if it may not; ``wrong_type`` if the cell holds something else than text or a number.
    """
    value = row.get(name)
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        value = str(value)
    if value is not None and not isinstance(value, str):
        raise BrokenRow("wrong_type", f"{name} holds {type(value).__name__}, not text")
    value = (value or "").strip()
    if not value and not blank:
        raise BrokenRow(f"no_{name}", f"has no {name}")
    return value


def texts_in(row: Mapping[str, Any], name: str) -> tuple[str, ...]:
    """The texts of a cell that holds a list, or none.

    Raises:
        BrokenRow: ``wrong_type`` if it holds something else.
    """
    value = row.get(name)
    if value is None:
        return ()
    if not isinstance(value, Sequence) or isinstance(value, str) or not all(isinstance(one, str) for one in value):
        raise BrokenRow("wrong_type", f"{name} is no list of texts: {str(value)[:_SHOWN]!r}")
    return tuple(one.strip() for one in value)


def struct_in(row: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """The mapping in a cell; empty if there is none.

    Raises:
        BrokenRow: ``wrong_type`` if it holds something else.
    """
    value = row.get(name)
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise BrokenRow("wrong_type", f"{name} is no mapping: {str(value)[:_SHOWN]!r}")
    return value


def picture_in(row: Mapping[str, Any], *names: str) -> Any:
    """The first picture in some columns, undecoded.

    Raises:
        BrokenRow: ``no_image`` if there is none.
    """
    for name in names:
        value = row.get(name)
        if isinstance(value, Mapping) and not value.get("bytes") and not value.get("path"):
            continue
        if value:
            return value
    raise BrokenRow("no_image", f"has no picture in {' or '.join(names)}")


def without_marks(text: str) -> str:
    """The text with ``<image>`` marks dropped, for rows whose one picture stands before the text."""
    return _MARK.sub(" ", text).strip() if IMAGE_MARKER in text else text


def letter_at(index: int) -> str:
    """The letter of an option, A for 0."""
    return chr(ord("A") + index)


def lettered(choices: Sequence[str]) -> str:
    """Options as most benchmarks show them, a line each: ``(A) text``."""
    return "\n".join(f"({letter_at(index)}) {choice}" for index, choice in enumerate(choices))


def with_readable_gold(row: ProblemRow) -> ProblemRow:
    """The row itself.

    Raises:
        BrokenRow: ``gold_not_read`` if its gold answer is none of its type.
    """
    try:
        read_gold(row.answer, row.kind, terms_of(row.choices, row.precision, row.unit, row.question))
    except UserError as error:
        raise BrokenRow("gold_not_read", "; ".join(fault.what for fault in error.faults)) from error
    return row
