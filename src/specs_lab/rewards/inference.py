"""Tells the type of an answer from the gold answer, for data that do not say it."""

from __future__ import annotations

import re
from functools import lru_cache

from specs_lab.rewards.algebra.notation import read_expression, read_relation
from specs_lab.rewards.kinds.base import KINDS, Terms
from specs_lab.rewards.kinds.writing import folded, formula, plain, unwrapped
from specs_lab.rewards.quantities import read_quantity, read_ratio

ALIASES = {
    "phrase": "word",
    "string": "word",
    "text": "word",
    "letter": "choice",
    "multi_choice": "choice",
    "digit": "integer",
    "int": "integer",
    "float": "number",
    "percentage": "number",
    "math": "expression",
    "bool": "boolean",
    "bbox": "box",
    "open_ended": "open",
}
"""Other names of answer types that datasets use."""

_TRUTH = frozenset({"yes", "no", "true", "false"})
_OPTION = re.compile(r"\(?[A-J]\)?\.?")
_TIME = re.compile(r"[0-9]{1,2}:[0-5][0-9](?::[0-5][0-9])?")
_RANGE = re.compile(
    r"[<>\u2264\u2265\u222a\u221e]|\\(?:cup|infty|leq?|geq?|lt|gt)\b|\[[^\[\]()]*,[^\[\]()]*\)|\([^\[\]()]*,[^\[\]()]*\]"
)
_SET = re.compile(r"\s*\$?\s*(?:\\left)?\\?\{.*\}\s*\$?\s*|\s*\$?\\(?:emptyset|varnothing)\$?\s*", re.DOTALL)
_MATRIX = re.compile(r"\\begin\s*\{|^\s*\$?\s*\[\s*\[")
_MATHS = re.compile(
    r"\\[A-Za-z]+|[\^\u03c0\u221a\u00b2\u00b3\u2074-\u2079]|(?<![A-Za-z])[A-Za-z0-9]!|[0-9]\s?[a-z]\b|\b(?:sqrt|sin|cos|tan|log|ln|exp)\s?\(|\bpi\b|[a-z]\s?[-+*/]\s?[a-z0-9]\b|[0-9]\s?[-+*/]\s?[a-z]\b",
    re.IGNORECASE,
)
_ONLY_TEXT = re.compile(r"\\(?:text|textbf|textit|mathrm|mathbf)\s*\{[^{}]*\}")
_LETTERS = re.compile(r"[A-Z](?:\s+and\s+[A-Z])+")
_SEPARATOR = re.compile(r"[,;\n]")
_LONGEST_ITEM = 4  # words


def canonical_kind(name: str) -> str:
    """The name of an answer type, which may be given by an alias.

    Raises:
        UserError: If there is no such type.
    """
    name = ALIASES.get(name, name)
    KINDS.get(name)
    return name


@lru_cache(maxsize=65536)
def infer_kind(gold: str, choices: tuple[str, ...] = (), unit: str | None = None) -> str:
    """The most specific type that a gold answer can be read as.

    Never ``open``, ``box`` or ``point``: nothing in the text of an answer tells them from others. A lower-case letter
    is a word, two capitals are a word and no product, and ``3:30`` is a time and no ratio.

    Args:
        gold: The gold answer.
        choices: The texts of the options, if there are any.
        unit: The unit that is declared, if one is.
    """
    terms = Terms(choices=choices)
    seen = formula(gold)
    text = gold.strip() if seen is None else seen
    if choices and _reads("choice", text, terms):
        return "choice"
    if folded(text) in _TRUTH:
        return "boolean"
    return _number(text, unit) or _structure(text) or _formula(text) or _words(text)


def _reads(name: str, text: str, terms: Terms | None = None) -> bool:
    return KINDS.get(name).read_gold(text, terms or Terms()) is not None


def _number(text: str, unit: str | None) -> str | None:
    if _reads("integer", text, Terms(unit=unit)):
        return "integer"
    quantity = read_quantity(text, unit)
    if quantity is not None:
        return "fraction" if quantity.fraction else "number"
    ratio = read_ratio(text)
    return "ratio" if ratio is not None and not _TIME.fullmatch(plain(text)) else None


def _structure(text: str) -> str | None:
    if _RANGE.search(text) and _reads("interval", text):
        return "interval"
    if _SET.fullmatch(text) and _reads("set", text):
        return "set"
    return "matrix" if _MATRIX.search(text) and _reads("matrix", text) else None


def _formula(text: str) -> str | None:
    seen = formula(text)
    if seen is None:
        return None
    relation = read_relation(seen)
    if relation is not None and relation[1] == "=":
        left, _, right = relation
        defined = len(left) == 1 and not re.search(r"(?<![\\A-Za-z])[A-Za-z]", right)
        return "expression" if defined and _reads("expression", text) else "equation"
    if _MATHS.search(_ONLY_TEXT.sub("", seen)) and read_expression(seen) is not None:
        return "expression"
    return None


def _words(text: str) -> str:
    if _OPTION.fullmatch(plain(text, ",;:!?")):
        return "choice"
    if _LETTERS.fullmatch(text):
        return "list"
    items = _SEPARATOR.split(unwrapped(text).strip("()[] "))
    short = len(items) > 1 and all(item.strip() and len(item.split()) <= _LONGEST_ITEM for item in items)
    return "list" if short and _reads("list", text) else "word"
