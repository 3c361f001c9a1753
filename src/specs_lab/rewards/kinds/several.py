"""Several answers in one: lists, whose order counts, and sets, whose order does not."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from specs_lab.rewards.algebra.notation import read_expression
from specs_lab.rewards.kinds.algebra import all_equal
from specs_lab.rewards.kinds.base import AnswerKind, Outcome, Pending, Request, Terms, kind
from specs_lab.rewards.kinds.words import Word
from specs_lab.rewards.kinds.writing import unwrapped, visible
from specs_lab.rewards.quantities import Quantity, read_quantity

_LONGEST = 1000
_DECORATION = " $*`\t\n\"'"
_MOST = 32
_MOST_ASKED = 64
_OPENING, _CLOSING = "([{", ")]}"
_AFTER_COMMA = re.compile(r"\s*([,;])\s*")
_LINE_END = re.compile(r"[,;]? ?\n\s*()")
_SPACES = re.compile(r"[^\S\n]+")
_AND = re.compile(r" ?,? (?:and|&) ")
_OR = re.compile(r" ?,? (?:and|or|&) ")
_ASSIGNED = re.compile(r"\s*([A-Za-z](?:_(?:\w|\{\w+\}))?)\s*=\s*")
_EMPTY = {"\\emptyset", "\\varnothing", "\u2205", "\\{\\}", "{}"}
_WORD = Word()


@dataclass(frozen=True)
class Element:
    """One of several answers.

    Attributes:
        word: As a word.
        value: As a rational number with its unit, or None.
        latex: As an expression, or None; only if it is no word of several letters.
        name: What it is the value of (``x`` in ``x = 1``), if that is said.
    """

    word: str
    value: Quantity | None
    latex: str | None
    name: str = ""

    def same(self, other: Element) -> bool | None:
        """Whether it equals another; None if only a computer algebra system can tell."""
        if self.name != other.name and self.name and other.name:
            return False
        if self.value is not None and other.value is not None:
            return _same_quantity(self.value, other.value)
        if self.latex is None or other.latex is None:
            return self.word == other.word
        letters = len(self.latex) == len(other.latex) == 1  # a variable is none but itself, in either case
        return True if self.latex == other.latex else False if letters else None


Elements = tuple[Element, ...]


def _same_quantity(one: Quantity, other: Quantity) -> bool:
    """Whether two numbers are equal, in their units if both have one."""
    if one.unit is None or other.unit is None:
        return one.value == other.value
    return one.unit.dimension == other.unit.dimension and one.value * one.unit.scale == other.value * other.unit.scale


def _element(text: str) -> Element | None:
    named = _ASSIGNED.match(text)
    text = text[named.end() :] if named else text
    word = _WORD.read_gold(_AFTER_COMMA.sub(r"\1 ", text), Terms())
    if word is None:
        return None
    if text.startswith(("{", "\\{")):  # a set is no number
        return Element(word, None, None)
    quantity = read_quantity(text)
    letters = len(word) > 1 and word.isalpha()  # a word, not a product: AB is not BA
    return Element(word, quantity, None if letters else read_expression(text), named[1] if named else "")


def _split(text: str, conjunction: re.Pattern[str]) -> list[str] | None:
    """The parts at commas, semicolons, line ends and conjunctions outside of brackets; None if these do not match."""
    text = conjunction.sub(",", _LINE_END.sub(r"\1\n", text))
    parts, depth, start = [], 0, 0
    for index, character in enumerate(text):
        if character in _OPENING:
            depth += 1
        elif character in _CLOSING:
            depth -= 1
            if depth < 0:
                return None
        elif character in ",;\n" and depth == 0:
            parts.append(text[start:index])
            start = index + 1
    parts.append(text[start:])
    return None if depth else [part.strip() for part in parts]


def _without_brackets(text: str) -> str:
    for opening, closing in (("\\{", "\\}"), ("\\left\\{", "\\right\\}"), ("{", "}"), ("[", "]"), ("(", ")")):
        inside = text[len(opening) : len(text) - len(closing)]
        if text.startswith(opening) and text.endswith(closing) and _split(inside, _AND) is not None:
            return inside.strip()
    return text


def _elements(text: str, conjunction: re.Pattern[str]) -> Elements | None:
    seen = visible(text)
    if seen is None or len(seen) > _LONGEST:
        return None
    bare = (
        _SPACES.sub(" ", unwrapped(seen))
        .replace("\\left", "")
        .replace("\\right", "")
        .strip(_DECORATION)
        .rstrip(".,;" + _DECORATION)
    )
    if bare.replace(" ", "") in _EMPTY:
        return ()
    parts = _split(_without_brackets(bare), conjunction)
    if parts is None or len(parts) > _MOST:
        return None
    found = [_element(part) for part in parts]
    return tuple(one for one in found if one) if all(found) else None


def _shown(elements: Elements) -> str:
    return ", ".join(element.word for element in elements)


@kind
class List(AnswerKind[Elements]):
    """Several answers in order: numbers, words or expressions."""

    name: ClassVar[str] = "list"

    def read_gold(self, text: str, terms: Terms) -> Elements | None:
        """The elements."""
        return _elements(text, _AND) or None

    def compare(self, given: Elements, gold: Elements, terms: Terms) -> Outcome | Pending:
        """Equal if there are as many, and each equals that in its place."""
        shown = (_shown(given), _shown(gold))
        if len(given) != len(gold):
            return Outcome(False, f"{len(given)} elements, not {len(gold)}")
        if len({one.name for one in given if one.name}) == len({one.name for one in gold if one.name}) == len(gold):
            given, gold = (tuple(sorted(some, key=lambda one: one.name)) for some in (given, gold))  # y = 2, x = 1
        pairs = [(one, other, one.same(other)) for one, other in zip(given, gold, strict=True)]
        if any(same is False for _, _, same in pairs):
            return Outcome(False, f"{shown[0]} is not {shown[1]}")
        asked = [(one.latex or "", other.latex or "") for one, other, same in pairs if same is None]
        if not asked:
            return Outcome(True, f"{shown[0]} equals {shown[1]}")
        return all_equal([one for one, _ in asked], [other for _, other in asked], *shown)

    def gold_requests(self, gold: Elements) -> list[Request]:
        """That elements which are neither words nor numbers can be read."""
        return _to_be_read(gold)


@kind
class Set(AnswerKind[Elements]):
    """Several answers in any order, each once however often it is named."""

    name: ClassVar[str] = "set"

    def read_gold(self, text: str, terms: Terms) -> Elements | None:
        """The elements, without those that are named before."""
        found = _elements(text, _OR)
        if found is None:
            return None
        kept: list[Element] = []
        for one in found:
            if not any(one.same(other) for other in kept):
                kept.append(one)
        return tuple(kept)

    def compare(self, given: Elements, gold: Elements, terms: Terms) -> Outcome | Pending:
        """Equal if each is one of the others."""
        shown = (_shown(given), _shown(gold))
        unlike = Outcome(False, f"{shown[0]} is not {shown[1]}")
        table = [[one.same(other) for other in gold] for one in given]
        hopeless = any(all(same is False for same in line) for line in [*table, *zip(*table, strict=True)])
        if hopeless or bool(given) != bool(gold):
            return unlike
        rows, columns = ([not any(line) for line in lines] for lines in (table, list(zip(*table, strict=True))))
        asked = [(i, j) for i, line in enumerate(table) for j, same in enumerate(line) if same is None]
        asked = [(i, j) for i, j in asked if rows[i] or columns[j]]  # the others have found their equal
        if not any(rows) and not any(columns):
            return Outcome(True, f"{shown[0]} equals {shown[1]}")
        if len(asked) > _MOST_ASKED:
            return Outcome(False, "too many expressions to be matched")
        requests = [
            {"task": "equal", "given": given[i].latex, "gold": gold[j].latex, "tolerance": None} for i, j in asked
        ]

        def decide(replies: Sequence[Mapping[str, Any]]) -> Outcome:
            for (i, j), reply in zip(asked, replies, strict=True):
                table[i][j] = bool(reply["equal"])
            matched = all(any(line) for line in [*table, *zip(*table, strict=True)])
            return Outcome(True, f"{shown[0]} equals {shown[1]}") if matched else unlike

        return Pending(requests, decide)

    def gold_requests(self, gold: Elements) -> list[Request]:
        """That elements which are neither words nor numbers can be read."""
        return _to_be_read(gold)


def _to_be_read(gold: Elements) -> list[Request]:
    expressions = [one.latex for one in gold if one.value is None and one.latex is not None]
    return [{"task": "parses", "gold": expressions}] if expressions else []
