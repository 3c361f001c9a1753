"""Expressions, equations and matrices: read here, compared by a computer algebra system in a process of its own."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, ClassVar

from specs_lab.rewards.algebra.notation import ANY_LETTERS, read_expression, read_matrix, read_relation, variables_of
from specs_lab.rewards.kinds.base import AnswerKind, Outcome, Pending, Request, Terms, kind
from specs_lab.rewards.kinds.numbers import tolerance
from specs_lab.rewards.kinds.writing import formula
from specs_lab.rewards.quantities import read_quantity

_DEFINED = re.compile(r"\s*\$?\s*[A-Za-z](?:_(?:\w|\{\w+\}))?(?:\([A-Za-z]\))?\s*=(?!=)\s*")
_SIGN = re.compile(r"[0-9^+*/=_\\]")
_COMMAND = re.compile(r"\\[A-Za-z]+|\b(?:arc)?(?:sin|cos|tan|cot|sec|csc)h?\b|\b(?:sqrt|exp|log|abs)\b")
_RUN = re.compile(r"[A-Za-z]{2,}")
_LONGEST_RUN = 3
_LONGEST_SHOWN = 60


@dataclass(frozen=True)
class Expression:
    """An expression.

    Attributes:
        latex: As checked LaTeX.
        value: Its value, if it is written as a rational number.
    """

    latex: str
    value: Fraction | None


def _shown(text: str) -> str:
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}\u2026"


def _letters_for_gold(text: str) -> Set[str] | None:
    """Whether runs of letters are products in a gold answer that is declared to be a formula: ``2pir^2``.

    They are unless it may be prose: it holds a sign, and no run is longer than three letters.
    """
    runs = _RUN.findall(_COMMAND.sub(" ", text))
    return ANY_LETTERS if _SIGN.search(text) and all(len(run) <= _LONGEST_RUN for run in runs) else None


def _expression(text: str, letters: Set[str] | None) -> Expression | None:
    latex = read_expression(text) or (read_expression(text, letters) if letters is not None else None)
    if latex is None:
        return None
    quantity = read_quantity(text)
    return Expression(latex, quantity.value if quantity is not None and quantity.unit is None else None)


def all_equal(given: Sequence[str], gold: Sequence[str], shown: str, shown_gold: str) -> Pending:
    """Asks whether expressions are equal one by one."""
    request = {"task": "equal_all", "given": list(given), "gold": list(gold)}
    return Pending([request], lambda replies: verdict(replies[0], shown, shown_gold))


def verdict(reply: Mapping[str, Any], given: str, gold: str) -> Outcome:
    """The outcome of a reply of the computer algebra system."""
    if reply["equal"]:
        return Outcome(True, f"{_shown(given)} equals {_shown(gold)}")
    return Outcome(False, reply.get("reason") or f"{_shown(given)} is not {_shown(gold)}")


@kind
class Algebraic(AnswerKind[Expression]):
    """An algebraic expression, equal to whatever can be rearranged into it. ``x =`` before it is left out."""

    name: ClassVar[str] = "expression"

    def read_gold(self, text: str, terms: Terms) -> Expression | None:
        """The expression; None if it is too large to be compared, or not one."""
        return self._read(text, _letters_for_gold(text))

    def read(self, text: str, gold: Expression, terms: Terms) -> Expression | None:
        """The expression; letters side by side are a product of the gold answer's variables, or no formula."""
        return self._read(text, variables_of(gold.latex))

    @staticmethod
    def _read(text: str, letters: Set[str] | None) -> Expression | None:
        seen = formula(text)
        if seen is None:
            return None
        defined = _DEFINED.match(seen)
        return _expression(seen[defined.end() :] if defined else seen, letters)

    def compare(self, given: Expression, gold: Expression, terms: Terms) -> Outcome | Pending:
        """Equal if the difference vanishes; numbers and equal texts are compared without asking."""
        if given.latex == gold.latex:
            return Outcome(True, f"{_shown(given.latex)} equals the gold answer")
        margin = None if terms.precision is None else tolerance(terms.precision)
        if given.value is not None and gold.value is not None:
            equal = given.value == gold.value or (margin is not None and abs(given.value - gold.value) <= margin)
            return verdict({"equal": equal}, given.latex, gold.latex)
        request: Request = {
            "task": "equal",
            "given": given.latex,
            "gold": gold.latex,
            "tolerance": None if margin is None else f"{float(margin)!r}",
        }
        return Pending([request], lambda replies: verdict(replies[0], given.latex, gold.latex))

    def gold_requests(self, gold: Expression) -> list[Request]:
        """That it can be read."""
        return [] if gold.value is not None else [{"task": "parses", "gold": [gold.latex]}]


@kind
class Equation(AnswerKind[tuple[str, str]]):
    """An equation, equal up to moving terms, swapping sides and a factor."""

    name: ClassVar[str] = "equation"

    def read_gold(self, text: str, terms: Terms) -> tuple[str, str] | None:
        """Both sides."""
        return self._read(text, _letters_for_gold(text))

    def read(self, text: str, gold: tuple[str, str], terms: Terms) -> tuple[str, str] | None:
        """Both sides, with the gold answer's variables."""
        return self._read(text, variables_of(gold[0]) | variables_of(gold[1]))

    @staticmethod
    def _read(text: str, letters: Set[str] | None) -> tuple[str, str] | None:
        seen = formula(text)
        if seen is None:
            return None
        relation = read_relation(seen) or (read_relation(seen, letters) if letters is not None else None)
        return (relation[0], relation[2]) if relation is not None and relation[1] == "=" else None

    def compare(self, given: tuple[str, str], gold: tuple[str, str], terms: Terms) -> Outcome | Pending:
        """Equal if the differences of the sides are multiples of each other."""
        shown = [" = ".join(sides) for sides in (given, gold)]
        if given == gold:
            return Outcome(True, f"{_shown(shown[0])} equals the gold answer")
        request = {"task": "equation", "given": list(given), "gold": list(gold)}
        return Pending([request], lambda replies: verdict(replies[0], *shown))

    def gold_requests(self, gold: tuple[str, str]) -> list[Request]:
        """That both sides can be read."""
        return [{"task": "parses", "gold": list(gold)}]


Rows = tuple[tuple[str, ...], ...]


@kind
class Matrix(AnswerKind[Rows]):
    """A matrix or a vector, compared entry by entry."""

    name: ClassVar[str] = "matrix"

    def read_gold(self, text: str, terms: Terms) -> Rows | None:
        """The rows."""
        seen = formula(text)
        if seen is None:
            return None
        defined = _DEFINED.match(seen)
        return read_matrix(seen[defined.end() :] if defined else seen)

    def compare(self, given: Rows, gold: Rows, terms: Terms) -> Outcome | Pending:
        """Equal if the shapes agree and all entries are equal."""
        shapes = [f"{len(rows)} x {len(rows[0])}" for rows in (given, gold)]
        if shapes[0] != shapes[1]:
            return Outcome(False, f"a matrix of {shapes[0]} is none of {shapes[1]}")
        if given == gold:
            return Outcome(True, "all entries are equal")
        cells = [[cell for row in rows for cell in row] for rows in (given, gold)]
        return all_equal(cells[0], cells[1], " ".join(cells[0]), " ".join(cells[1]))

    def gold_requests(self, gold: Rows) -> list[Request]:
        """That all entries can be read."""
        return [{"task": "parses", "gold": [cell for row in gold for cell in row]}]
