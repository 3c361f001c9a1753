r"""Reads expressions, relations and matrices, in LaTeX or in plain syntax, into one checked and unambiguous LaTeX.

The parent's half of grading mathematics: cheap, without a computer algebra system, linear in the length of the text.
What is read here can be handed to the other half (:mod:`specs_lab.rewards.algebra.mathematics`); what is not, or could
cost too much there, is refused. Conventions, for what TeX or plain syntax leave open:

- ``x^10`` is the tenth power and ``\sqrt12`` the root of twelve, as writers mean them, though TeX would set them
  otherwise; but ``\frac12`` is a half. A superscript on a superscript needs braces.
- A product without a sign binds tighter than ``/``: ``b/2a`` is b over 2a. Numbers are the exception: ``1/2x`` is half
  of x. ``2\frac{1}{2}`` is two and a half, ``2\frac{x}{2}`` is x.
- The argument of a function without brackets is the product after it, up to a sign of operation, a bracket or another
  function: ``\sin 2x\cos x`` is a product of two functions, ``\sin\pi/3`` keeps its angle. ``\sin^{-1}`` is the inverse
  function, every other power is one of the value.
- ``\log`` without a base has base 10, ``\ln`` base e. ``e`` is Euler's number and ``i`` the imaginary unit; every other
  letter is a variable, in either case (``X`` is not ``x``). ``1e3`` is a thousand, ``2e-3`` is 2e less 3.
- ``\infty`` stands alone or with a sign. ``\pm``, degrees, per cent, units, primes and ``\text`` are refused.
"""

from __future__ import annotations

import re
from collections.abc import Set

from specs_lab.rewards.algebra.expressions import parse
from specs_lab.rewards.algebra.symbols import ANY_LETTERS, CONSTANTS, VARIABLE, Refused, tokenize

__all__ = ["ANY_LETTERS", "read_expression", "read_matrix", "read_relation", "variables_of"]

MOST_CELLS = 100
LONGEST_MATRIX = 4000
"""Characters of a matrix; a longer one is refused unread."""

_MATRIX = re.compile(
    r"(?:(?:\\left\s*)?(?P<opening>[(\[])\s*)?\\begin\s*\{(?P<name>pmatrix|bmatrix|matrix|smallmatrix|array)\}"
    r"\s*(?P<columns>\{[lcr|\s]*\})?(?P<cells>[^$]*?)\\end\s*\{(?P=name)\}(?:\s*(?:\\right\s*)?(?P<closing>[)\]]))?"
)
_BRACKETS = {"": "", "(": ")", "[": "]"}
_LINE_END = re.compile(r"\\\\(?:\[[0-9.]+[a-z]+\])?")


def read_expression(text: str, variables: Set[str] | None = None) -> str | None:
    r"""Reads one algebraic expression.

    Args:
        text: The expression, in LaTeX or in plain syntax, without marks of mathematics mode.
        variables: Letters that may stand next to each other as a product: :func:`variables_of` the gold answer, or
            :data:`ANY_LETTERS` for a gold answer that is declared to be an expression. By default letters that could
            be a word are no expression, see :func:`specs_lab.rewards.algebra.symbols.letters`.

    Returns:
        Canonical LaTeX, which this function reads into itself: every product with a sign, every argument in brackets.
        None if the text is no such expression, or one that could cost too much to work out.
    """
    try:
        return parse(tokenize(text, variables))
    except Refused:
        return None


def read_relation(text: str, variables: Set[str] | None = None) -> tuple[str, str, str] | None:
    r"""Reads an equation or an inequality with one sign of relation.

    Args:
        text: The relation.
        variables: As for :func:`read_expression`.

    Returns:
        The left side, the sign (``=``, ``<``, ``>``, ``\le``, ``\ge`` or ``\ne``) and the right side, in canonical
        LaTeX; None if the text is no relation, or one with several signs.
    """
    try:
        tokens = tokenize(text, variables)
        signs = [index for index, token in enumerate(tokens) if token.kind == "relation"]
        if len(signs) != 1:
            return None
        return parse(tokens[: signs[0]]), tokens[signs[0]].text, parse(tokens[signs[0] + 1 :])
    except Refused:
        return None


def variables_of(latex: str) -> frozenset[str]:
    """The variables of an expression in canonical LaTeX, with their subscripts."""
    names = (match["name"] for match in VARIABLE.finditer(latex))
    return frozenset(name for name in names if name and name not in CONSTANTS)


def read_matrix(text: str, variables: Set[str] | None = None) -> tuple[tuple[str, ...], ...] | None:
    r"""Reads a matrix: an environment of LaTeX, or rows as lists in a list.

    Args:
        text: The matrix, as ``pmatrix``, ``bmatrix``, ``matrix``, ``smallmatrix`` or ``array``, the last three with
            brackets or without, or as ``[[1,2],[3,4]]``. A ``vmatrix`` is a determinant, which is no matrix.
        variables: As for :func:`read_expression`.

    Returns:
        The rows' cells in canonical LaTeX; None if the text is no matrix, its rows are not equally long, it has more
        than :data:`MOST_CELLS` cells, or a cell is no expression.
    """
    if len(text) > LONGEST_MATRIX:
        return None
    rows = _environment(text.strip()) if "\\begin" in text else _lists(text)
    if not rows or len({len(row) for row in rows}) != 1 or len(rows) * len(rows[0]) > MOST_CELLS:
        return None
    cells = [[read_expression(cell, variables) for cell in row] for row in rows]
    read = tuple(tuple(cell for cell in row if cell is not None) for row in cells)
    return read if all(len(row) == len(rows[0]) for row in read) else None


def _environment(text: str) -> list[list[str]] | None:
    match = _MATRIX.fullmatch(text)
    if match is None or _BRACKETS.get(match["opening"] or "") != (match["closing"] or ""):
        return None
    name, columns = match["name"], match["columns"]
    if (columns is None) == (name == "array") or (match["opening"] and name in ("pmatrix", "bmatrix")):
        return None
    rows = _LINE_END.split(match["cells"])
    if len(rows) > 1 and not rows[-1].strip():
        rows.pop()
    return [row.split("&") for row in rows]


def _elements(text: str) -> list[str] | None:
    """The elements of a list in square brackets, split at the commas outside of the elements' own brackets."""
    text = text.strip()
    if not (text.startswith("[") and text.endswith("]")):
        return None
    elements, depth, start = list[str](), 0, 1
    for index, character in enumerate(text):
        depth += (character in "([{") - (character in ")]}")
        if depth == 0 and index < len(text) - 1:
            return None
        if (character == "," and depth == 1) or index == len(text) - 1:
            elements.append(text[start:index])
            start = index + 1
    return elements if depth == 0 else None


def _lists(text: str) -> list[list[str]] | None:
    rows = [_elements(row) for row in _elements(text) or ()]
    return [row for row in rows if row] if all(rows) else None
