"""Lists, sets, dicts, boxes and points that answers hold as text or as structures; responses may hold anything."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from specs_lab.evaluation.benchmarks.literals import NotLiteral, json_value, literal
from specs_lab.evaluation.benchmarks.mega_bench.structures import last_structure

Numbers = tuple[float, ...]

_CLOSING = {"(": ")", "[": "]", "{": "}"}
_FAR = 1e9
"""Largest coordinate that is one."""
_POINT = re.compile(r"<point>([^<]*)</point>")
_BOX = re.compile(r"<box>([^<]*)</box>")
_FLAT = 4


def frozen(value: Any) -> Any:
    """A structure that can be an element of a set: lists and tuples alike become tuples."""
    if isinstance(value, dict):
        return frozenset((frozen(key), frozen(one)) for key, one in value.items())
    if isinstance(value, list | tuple):
        return tuple(frozen(one) for one in value)
    if isinstance(value, set | frozenset):
        return frozenset(frozen(one) for one in value)
    return value


def as_list(value: Any) -> list[Any]:
    """The elements of a list, or of a text that is one, with or without brackets and quotes.

    A number is its own only element, as is a quoted text. What opens a bracket and does not close it, and whatever is
    neither text nor list, has no elements.
    """
    if isinstance(value, list | tuple):
        return list(value)
    if not isinstance(value, str) or not (text := value.strip(" ")):
        return []
    closing = _CLOSING.get(text[0])
    if closing is not None and not text.endswith(closing):
        return []
    try:
        read = literal(text)
    except NotLiteral:
        inside = text if closing is None else text[1:-1]
        return [part.strip() for part in inside.split(",")]
    if read is None:
        return []
    return list(read) if isinstance(read, list | tuple | set | dict) else [read]


def as_set(value: Any) -> frozenset[Any]:
    """The elements of a structure, or of a text that is one, frozen; of a dict in a structure, its pairs."""
    if isinstance(value, dict | list | tuple | set | frozenset):
        return frozenset(frozen(value))
    return frozenset(frozen(as_list(value)))


def as_dict(value: Any) -> dict[Any, Any] | None:
    """The dict that a value is, or that a text holds, with texts in it that hold structures read; None if none."""
    if isinstance(value, str):
        value = last_structure(value)
    if not isinstance(value, dict):
        return None
    return {key: _inner(one) for key, one in value.items()}


def _inner(value: Any) -> Any:
    if isinstance(value, str) and value.strip()[:1] in {"{", "["}:
        inner = last_structure(value)
    else:
        inner = as_dict(value) if isinstance(value, dict) else None
    return value if inner is None else inner


def _structured(value: Any) -> Any:
    """What a text holds as a literal or as JSON; None if nothing."""
    if not isinstance(value, str):
        return value
    for read in (literal, json_value):
        try:
            return read(value)
        except NotLiteral:
            continue
    return None


def _numbers(value: Any, length: int) -> Numbers | None:
    if not isinstance(value, list | tuple) or len(value) != length:
        return None
    if not all(isinstance(one, int | float) and -_FAR <= one <= _FAR for one in value):
        return None
    return tuple(float(one) for one in value)


def tuples_in(value: Any, length: int) -> list[Numbers]:
    """The boxes (``length`` 4) or points (2) that a list or a text holds; a single one is a list of one.

    What is none is left out.
    """
    read = _structured(value)
    if not isinstance(read, list | tuple):
        return []
    if (single := _numbers(read, length)) is not None:
        return [single]
    found = (_numbers(one, length) for one in read)
    return [one for one in found if one is not None]


def _tagged(pattern: re.Pattern[str], text: str, length: int) -> list[Numbers]:
    return [one for one in (_split(inside, length) for inside in pattern.findall(text)) if one is not None]


def _split(inside: str, length: int) -> Numbers | None:
    try:
        return _numbers([float(part) for part in inside.split(",")], length)
    except ValueError:
        return None


def tagged_boxes(value: Any) -> list[Numbers]:
    """The boxes in ``<box>x1, y1, x2, y2</box>``, or of a list."""
    return _tagged(_BOX, value, _FLAT) if isinstance(value, str) else tuples_in(value, _FLAT)


def tagged_point(value: Any) -> Numbers | None:
    """The point in the only ``<point>x, y</point>``, or a pair of numbers; None if there are several, or none."""
    if isinstance(value, str):
        found = _POINT.findall(value)
        return _split(found[0], 2) if len(found) == 1 else None
    return _numbers(value, 2)


def share(shared: int, whole: int) -> float:
    """``shared`` of ``whole``; all of nothing is 1."""
    return shared / whole if whole else 1.0


def mean(values: Iterable[float]) -> float:
    """The mean; of nothing 0."""
    values = list(values)
    return sum(values) / len(values) if values else 0.0
