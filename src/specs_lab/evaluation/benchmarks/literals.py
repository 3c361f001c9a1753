"""Reads Python literals and JSON that datasets and responses hold as text. Nothing is ever evaluated."""

from __future__ import annotations

import ast
import json
import warnings
from typing import Any

LONGEST = 20_000
"""Characters of a literal in a response; a longer one is none."""
LONGEST_IN_DATA = 1_000_000
"""Characters of a literal in a dataset's row."""
DEEPEST = 50
"""Lists within lists."""
_UNREADABLE = (ValueError, SyntaxError, TypeError, MemoryError, RecursionError)


class NotLiteral(ValueError):
    """A text that is no literal, or one too long or too deep to be read."""


def literal(text: str, longest: int = LONGEST) -> Any:
    """The value of a Python literal: texts, numbers, tuples, lists, dicts, sets, booleans, None.

    Args:
        text: The literal.
        longest: Characters that it may have.

    Raises:
        NotLiteral: If it is none, is too long, or nests deeper than :data:`DEEPEST`.
    """
    text = _within(text, longest)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of backslashes in texts such as "\d"
            return _shallow(ast.literal_eval(text))
    except _UNREADABLE as error:
        raise NotLiteral(f"{text[:60]!r} is no Python literal") from error


def json_value(text: str, longest: int = LONGEST) -> Any:
    """The value of a JSON text; NaN and infinities, which Python's reader allows, are not read.

    Raises:
        NotLiteral: If it is none, is too long, or nests deeper than :data:`DEEPEST`.
    """
    text = _within(text, longest)
    try:
        return _shallow(json.loads(text, parse_constant=_no_number))
    except _UNREADABLE as error:
        raise NotLiteral(f"{text[:60]!r} is no JSON") from error


def unquoted(value: Any) -> Any:
    """What a text says that is a quoted text, such as ``'"B"'``; anything else as it is."""
    if not isinstance(value, str) or value.strip()[:1] not in {'"', "'", "r", "R", "u", "U", "b", "B", "(", "f"}:
        return value
    try:
        said = literal(value)
    except NotLiteral:
        return value
    return said if isinstance(said, str) else value


def _within(text: str, longest: int) -> str:
    if len(text) > longest:
        raise NotLiteral(f"a literal of {len(text)} characters is longer than {longest}")
    return text.strip()


def _shallow(value: Any) -> Any:
    """The value itself, if it can be walked without fear of recursion."""
    level, depth = [value], 0
    while level:
        if depth > DEEPEST:
            raise NotLiteral(f"a literal nests deeper than {DEEPEST}")
        held = [[*one, *one.values()] if isinstance(one, dict) else one for one in level]
        level = [part for one in held if isinstance(one, list | tuple | set) for part in one]
        depth += 1
    return value


def _no_number(name: str) -> float:
    raise ValueError(f"{name} is no number")
