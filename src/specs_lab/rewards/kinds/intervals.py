r"""Intervals and their unions: ``[1, 3)``, ``(-\infty, 2] \cup [5, 6)``, ``1 \le x < 3``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from typing import ClassVar

from specs_lab.rewards.algebra.notation import read_expression
from specs_lab.rewards.kinds.algebra import all_equal
from specs_lab.rewards.kinds.base import AnswerKind, Outcome, Pending, Request, Terms, equality, kind
from specs_lab.rewards.kinds.writing import unwrapped, visible
from specs_lab.rewards.quantities import read_quantity

_LONGEST = 400
_SIGNS = (
    ("\\left", ""), ("\\right", ""), ("\\leqslant", "<="), ("\\geqslant", ">="), ("\\leq", "<="), ("\\geq", ">="),
    ("\\le", "<="), ("\\ge", ">="), ("\\lt", "<"), ("\\gt", ">"), ("\u2264", "<="), ("\u2265", ">="),
    ("\\cup", "\u222a"), ("\\infty", "inf"), ("\u221e", "inf"), ("infinity", "inf"),
    ("\\lbrack", "["), ("\\rbrack", "]"),
    ("\\in", "\u2208"), ("\\,", " "), ("\\;", " "), ("\\!", ""), ("\\ ", " "), ("$", " "),
)  # fmt: skip
_MEMBER = re.compile(r"\s*[A-Za-z]\s*\u2208\s*")
_UNION = re.compile(r"\s*\u222a\s*|(?<=[)\]])\s*U\s*(?=[(\[])")
_OR = re.compile(r"\s*,?\s+or\s+|\s*\u222a\s*")
_PIECE = re.compile(r"([(\[])\s*([^,()\[\]]+|[^,\[\]]+)\s*,\s*([^,\[\]]+?)\s*([)\]])")
_RELATION = re.compile(r"(<=|>=|<|>)")
_VARIABLE = re.compile(r"[A-Za-z]")
_UNBOUNDED = ("inf", "-inf")
_INFINITE = {"inf": 1, "+inf": 1, "-inf": -1}

End = Fraction | str
"""A bound: a rational number, or an expression as checked LaTeX; infinite ones are ``"inf"`` and ``"-inf"``."""


@dataclass(frozen=True)
class Interval:
    """One interval.

    Attributes:
        low: Lower bound.
        low_in: Whether it belongs to the interval.
        high: Upper bound.
        high_in: Whether it belongs to the interval.
    """

    low: End
    low_in: bool
    high: End
    high_in: bool

    def __str__(self) -> str:
        return f"{'[' if self.low_in else '('}{self.low}, {self.high}{']' if self.high_in else ')'}"


Union = tuple[Interval, ...]


@kind
class Intervals(AnswerKind[Union]):
    """An interval or a union of some, also as inequalities of one variable. Open and closed ends differ."""

    name: ClassVar[str] = "interval"

    def read_gold(self, text: str, terms: Terms) -> Union | None:
        """The intervals in order; joined where they touch, if their ends are rational."""
        seen = visible(text)
        if seen is None or len(seen) > _LONGEST:
            return None
        written = _plain_signs(seen)
        found = _bracketed(written) or _inequalities(written)
        return None if found is None else _joined(found)

    def compare(self, given: Union, gold: Union, terms: Terms) -> Outcome | Pending:
        """Equal if all ends are, and belong to the interval or not alike."""
        shown = [" \u222a ".join(map(str, union)) for union in (given, gold)]
        if given == gold or _rational(given + gold) or len(given) != len(gold):
            return equality(*shown)
        if any(_kinds_of_ends(a) != _kinds_of_ends(b) for a, b in zip(given, gold, strict=True)):
            return Outcome(False, f"{shown[0]} is not {shown[1]}")
        return all_equal(_finite_ends(given), _finite_ends(gold), shown[0], shown[1])

    def gold_requests(self, gold: Union) -> list[Request]:
        """That the bounds can be read."""
        bounds = _finite_ends(gold)
        return [{"task": "parses", "gold": bounds}] if bounds and not _rational(gold) else []


def _plain_signs(text: str) -> str:
    text = unwrapped(text)
    for written, meant in _SIGNS:
        text = text.replace(written, meant)
    return " ".join(text.split()).strip("`*\"' ").rstrip("`*\"'.;:, ")


def _bracketed(text: str) -> Union | None:
    if member := _MEMBER.match(text):
        text = text[member.end() :]
    intervals = []
    for piece in _UNION.split(text):
        match = _PIECE.fullmatch(piece.strip())
        if match is None:
            return None
        interval = _interval(match[2], match[1] == "[", match[3], match[4] == "]")
        if interval is None:
            return None
        intervals.append(interval)
    return tuple(intervals)


def _inequalities(text: str) -> Union | None:
    """Inequalities of one variable, joined by ``or``."""
    intervals, variables = [], set[str]()
    for piece in _OR.split(text):
        parts = [part.strip() for part in _RELATION.split(piece)]
        found = _between(parts) if len(parts) == 5 else _one_sided(parts) if len(parts) == 3 else None
        if found is None:
            return None
        variables.add(found[0])
        intervals.append(found[1])
    return tuple(intervals) if len(variables) == 1 else None


def _between(parts: list[str]) -> tuple[str, Interval] | None:
    """``a < x <= b`` or ``b >= x > a``: the variable and its interval."""
    left, first, variable, second, right = parts
    if not _VARIABLE.fullmatch(variable) or first[0] != second[0]:
        return None
    if first[0] == ">":
        left, first, second, right = right, second, first, left
    interval = _interval(left, "=" in first, right, "=" in second)
    return None if interval is None else (variable, interval)


def _one_sided(parts: list[str]) -> tuple[str, Interval] | None:
    """``x > a`` or ``a < x``: the variable and its interval."""
    left, sign, right = parts
    if _VARIABLE.fullmatch(right) and not _VARIABLE.fullmatch(left):
        left, right = right, left
        sign = sign.translate(str.maketrans("<>", "><"))
    if not _VARIABLE.fullmatch(left):
        return None
    low, high = ("-inf", right) if sign[0] == "<" else (right, "inf")
    interval = _interval(low, "=" in sign and low != "-inf", high, "=" in sign and high != "inf")
    return None if interval is None else (left, interval)


def _interval(low: str, low_in: bool, high: str, high_in: bool) -> Interval | None:
    first, last = _end(low), _end(high)
    if first is None or last is None or first == "inf" or last == "-inf":
        return None
    if (low_in and first == "-inf") or (high_in and last == "inf"):
        return None
    if isinstance(first, Fraction) and isinstance(last, Fraction):
        empty = first > last or (first == last and not (low_in and high_in))
        return None if empty else Interval(first, low_in, last, high_in)
    return Interval(first, low_in, last, high_in)


def _end(text: str) -> End | None:
    text = text.strip()
    if text.replace(" ", "") in _INFINITE:
        return "inf" if _INFINITE[text.replace(" ", "")] > 0 else "-inf"
    quantity = read_quantity(text)
    if quantity is not None and quantity.unit is None:
        return quantity.value
    return read_expression(text)


def _rational(union: Union) -> bool:
    return all(isinstance(end, Fraction) or end in _UNBOUNDED for one in union for end in (one.low, one.high))


def _joined(union: Union) -> Union:
    """In order, and in one where two overlap or touch; those with ends that are no numbers only in order."""
    if len(union) < 2 or not _rational(union):
        return tuple(sorted(union, key=lambda one: (one.low != "-inf", one.high == "inf")))

    def low(one: Interval) -> tuple[Fraction | float, bool]:
        return (one.low if isinstance(one.low, Fraction) else float("-inf"), not one.low_in)

    def high(one: Interval) -> tuple[Fraction | float, bool]:
        return (one.high if isinstance(one.high, Fraction) else float("inf"), one.high_in)

    joined: list[Interval] = []
    for one in sorted(union, key=low):
        before = joined[-1] if joined else None
        touches = before is not None and (
            low(one)[0] < high(before)[0] or (low(one)[0] == high(before)[0] and (one.low_in or before.high_in))
        )
        if before is None or not touches:
            joined.append(one)
        elif high(one) > high(before):
            joined[-1] = Interval(before.low, before.low_in, one.high, one.high_in)
    return tuple(joined)


def _kinds_of_ends(one: Interval) -> tuple[bool, bool, End | None, End | None]:
    """Which ends belong to an interval, and which are infinite."""
    low, high = (end if end in _UNBOUNDED else None for end in (one.low, one.high))
    return one.low_in, one.high_in, low, high


def _finite_ends(union: Union) -> list[str]:
    return [str(end) for one in union for end in (one.low, one.high) if end not in _UNBOUNDED]
