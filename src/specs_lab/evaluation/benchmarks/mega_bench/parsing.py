"""Takes the fields of an answer out of a response, as the row's ``response_parse_function`` says.

The rules are those of the public evaluation; what differs is listed in ``docs/benchmarks.md``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from specs_lab.evaluation.benchmarks.conclusion import conclusion, last_box
from specs_lab.evaluation.benchmarks.literals import unquoted
from specs_lab.evaluation.benchmarks.mega_bench.structures import last_structure

ANSWER, ASCII, VERBATIM, JSON, DUMMY = "answer_string", "ascii_answer_string", "verbatim_answer_string", "json", "dummy"
PARSERS = (ANSWER, ASCII, VERBATIM, JSON, DUMMY)
"""What ``response_parse_function`` may be."""
SINGLE = frozenset({ANSWER, ASCII, VERBATIM})
"""Those of them that read answers of one field."""

_STARRED = re.compile(r"\*\*?Answer:\s*\*{0,2}")
_PLAIN = re.compile(r"\bAnswer:")
_FENCE = "```"
_LANGUAGE = re.compile(r"\w*")
_BLANK_LINES_BEFORE = re.compile(r"\A(?:[^\S\n]*\n)+")
_WORD_FIRST = re.compile(r"[A-Za-z0-9_-]|\([A-Za-z0-9_-]+\)\Z")


def fields_of(response: str, names: Sequence[str], parser: str, *, one_line: bool, boxes: bool) -> dict[str, Any]:
    r"""What a response says in each field.

    Args:
        response: All of the response.
        names: The fields.
        parser: One of :data:`PARSERS`.
        one_line: Whether the gold answer of the only field is a single line; then remarks behind it are dropped.
        boxes: Whether the answer may be in a ``\boxed{}`` where no "Answer:" announces it.
    """
    said = conclusion(response)
    if parser in SINGLE:
        if boxes and "Answer:" not in said:
            said = last_box(said) or said
        return {names[0]: _answer(said, parser, one_line)}
    if parser == JSON:
        found = last_structure(said)
        if isinstance(found, dict) and found:
            return {key: unquoted(value) for key, value in found.items()}
    return dict.fromkeys(names, said)


def _answer(text: str, parser: str, one_line: bool) -> str:
    text = _announced(text)
    if parser == VERBATIM:
        text = _BLANK_LINES_BEFORE.sub("", text)
        content = code_block(text, verbatim=True)[0]
        bare = content.rstrip()
        return bare + content[len(bare) :].partition("\n")[0]
    if parser == ASCII:
        return code_block(_BLANK_LINES_BEFORE.sub("", text), verbatim=True)[0].rstrip()
    content, is_code = code_block(text.strip())
    if one_line and not is_code:
        content = _without_remarks(content)
    if content[:1] in {"{", "["}:
        found = last_structure(content)
        return content if found is None else str(found)
    return unquoted(content)


def _announced(text: str) -> str:
    """What follows the first "Answer:", up to the stars that close it if stars open it; all of it without one."""
    starred, plain = _STARRED.search(text), _PLAIN.search(text)
    if plain is None:
        return text
    if starred is None or starred.start() > plain.start():
        return text[plain.end() :]
    rest = text[starred.end() :]
    if not starred.group().endswith("*"):
        return rest.partition("*")[0]
    bare = rest.strip()
    return bare[2:-2] if len(bare) > len("****") and bare.startswith("**") and bare.endswith("**") else rest


def code_block(text: str, *, verbatim: bool = False) -> tuple[str, bool]:
    """The content of the first complete block of code; the text itself, and False, if there is none.

    Args:
        text: The text.
        verbatim: Whether white space at the beginning of its first line counts.
    """
    _, opened, behind = text.partition(_FENCE)
    inside, closed, _ = behind.partition(_FENCE)
    if not opened or not closed:
        return text, False
    language = _LANGUAGE.match(inside)
    content = inside[language.end() if language else 0 :]
    return (_BLANK_LINES_BEFORE.sub("", content) if verbatim else content.strip()), True


def _without_remarks(text: str) -> str:
    """The first line, if a blank one follows it and it begins as an answer does: with a word, or with ``(B)``."""
    first, blank, _ = text.partition("\n\n")
    first = first.strip()
    return first if blank and "\n" not in first and _WORD_FIRST.match(first) else text
