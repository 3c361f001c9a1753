"""Finds the last dict or list in a text, written as JSON or as Python."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from specs_lab.evaluation.benchmarks.literals import NotLiteral, json_value, literal

_SEARCHED = 20_000
"""Characters, from the end of a text, in which structures are looked for."""
_MOST_TRIED = 50
_ANNOUNCED = re.compile(r"^(?:\*\*)?Answer:(?:\*\*)?[ \t]*", re.MULTILINE)
_FENCED = "```json"
_SINGLE_QUOTES = re.compile(r"(?<!\w)'|'(?!\w)")
_PAIRS = {"}": "{", "]": "["}
_DECODER = json.JSONDecoder()


def last_structure(text: str) -> dict[Any, Any] | list[Any] | None:
    """The last outermost dict or list that can be read; None if there is none.

    Looked for behind the first line that begins with ``Answer:``, and there in the first block of JSON code, if there
    are such. Texts in it that are themselves JSON dicts or lists are read too.

    Args:
        text: A response, or a part of one.
    """
    text = text[-_SEARCHED:]
    announced = _ANNOUNCED.search(text)
    if announced is not None and text[announced.end() :].strip():
        text = text[announced.end() :]
    _, fence, behind = text.partition(_FENCED)
    inside, closed, _ = behind.partition("```")
    found = None
    for value in _structures(inside if fence and closed else text):
        found = value
    return None if found is None else _opened(found)


def _opened(value: Any) -> Any:
    """With texts that are JSON dicts or lists read, one level deep in each."""
    if isinstance(value, dict):
        return {key: _opened(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_opened(one) for one in value]
    if isinstance(value, str) and value.strip()[:1] in {"{", "["}:
        try:
            inner = json_value(value)
        except NotLiteral:
            return value
        return inner if isinstance(inner, dict | list) else value
    return value


def _structures(text: str) -> Iterator[dict[Any, Any] | list[Any]]:
    """Outermost structures from left to right; what is bracketed but cannot be read is passed over as a whole."""
    ends = _matching(text)
    start, tried = 0, 0
    while tried < _MOST_TRIED and (opening := _next_opening(text, start)) is not None:
        tried += 1
        value, end = _decoded(text, opening, ends.get(opening))
        if value is not None:
            yield value
        start = end


def _next_opening(text: str, start: int) -> int | None:
    places = [place for place in (text.find("{", start), text.find("[", start)) if place >= 0]
    return min(places) if places else None


def _matching(text: str) -> dict[int, int]:
    """Index of the bracket that closes each one, quotes not minded."""
    ends: dict[int, int] = {}
    opened: list[int] = []
    for index, character in enumerate(text):
        if character in "{[":
            opened.append(index)
        elif character in "}]":
            if opened and text[opened[-1]] == _PAIRS[character]:
                ends[opened.pop()] = index
            else:
                opened.clear()
    return ends


def _decoded(text: str, opening: int, closing: int | None) -> tuple[Any, int]:
    """The structure that begins at a bracket, or None, and where to go on."""
    try:
        _, end = _DECODER.raw_decode(text, opening)
        value = json_value(text[opening:end])
        return value, end
    except (ValueError, RecursionError):
        pass
    if closing is None:
        return None, opening + 1
    written = text[opening : closing + 1]
    for read, one in ((literal, written), (json_value, _SINGLE_QUOTES.sub('"', written))):
        try:
            value = read(one)
        except NotLiteral:
            continue
        if isinstance(value, dict | list):
            return value, closing + 1
    return None, closing + 1
