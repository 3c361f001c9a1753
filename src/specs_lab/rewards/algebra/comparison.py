"""Compares expressions by what they come to.

Two numbers are equal if their difference vanishes the further the more digits are taken; no fixed tolerance could tell
an approximation from the number itself. (Beside an irrational number, what is smaller by 150 digits is not seen.)
Expressions with variables are compared at points, over the real numbers. Points where one of the two does not exist do
not count, so ``ln x^2`` equals ``2 ln x``. Only where the real numbers say too little (``i``, even roots of negative
numbers) are the complex ones taken.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

import mpmath
from sympy import Expr

from specs_lab.rewards.algebra.numerics import POINTS, NotWorkedOut, Number, inexact, worth

NEEDED = 3
"""How many points must count for two expressions with variables to be equal."""

DIGITS, MORE_DIGITS = 120, 300
_AGREEING = mpmath.mpf(10) ** -90  # what cancellation may leave of DIGITS in a sum at a point
_VANISHED = mpmath.mpf(10) ** -150  # by which a difference must shrink from DIGITS to MORE_DIGITS to be none
_NOTHING = mpmath.mpf(10) ** -250  # what is left of MORE_DIGITS if nothing was of DIGITS
_PROPORTIONAL = mpmath.mpf(10) ** -60


def _indices(*trees: Expr) -> range:
    return range(POINTS if any(tree.free_symbols for tree in trees) else 1)


def _both(given: Expr, gold: Expr, point: int, real: bool, digits: int) -> tuple[Number, Number] | None:
    """The values of two expressions at a point, or None if one of them has none."""
    first, second = worth(given, point, real, digits), worth(gold, point, real, digits)
    return None if first is None or second is None else (first, second)


def _agree(given: Expr, gold: Expr, point: int, real: bool, briefly: bool) -> bool | None:
    """Whether two expressions have the same value at a point; None if one of them has none.

    Args:
        given: An expression.
        gold: Another.
        point: The point.
        real: Whether to stay within the real numbers.
        briefly: Whether :data:`DIGITS` are enough to call them equal, as they have been compared in more elsewhere.
    """
    values = _both(given, gold, point, real, DIGITS)
    if values is None:
        return None
    if all(isinstance(value, Fraction) for value in values):
        return values[0] == values[1]
    with mpmath.workdps(DIGITS):
        first, second = map(inexact, values)
        difference = abs(first - second)
        if briefly and difference <= _AGREEING * max(abs(first), abs(second)):
            return True
    values = _both(given, gold, point, real, MORE_DIGITS)
    if values is None:
        return None
    with mpmath.workdps(MORE_DIGITS):
        first, second = map(inexact, values)
        left = abs(first - second)
        return left <= _VANISHED * max(difference, abs(first), abs(second)) or (difference == 0 and left <= _NOTHING)


def exists(tree: Expr) -> bool:
    """Whether an expression has a value anywhere, or one that is too large to be worked out."""
    try:
        return any(worth(tree, point, real, DIGITS) is not None for real in (True, False) for point in _indices(tree))
    except NotWorkedOut:
        return True


def equal(given: Expr, gold: Expr) -> bool | None:
    """Whether two expressions are equal.

    Returns:
        None if that cannot be told: if they are too large, or have no values at enough of the same points.
    """
    indices = _indices(given, gold)
    for real in (True, False):
        counted = 0
        for point in indices:
            try:
                agree = _agree(given, gold, point, real, briefly=counted >= NEEDED)
            except NotWorkedOut:
                continue
            if agree is False:
                return False
            counted += agree is True
        if counted >= min(NEEDED, len(indices)):
            return True
    return None


def _pairs(sides: tuple[Expr, Expr, Expr, Expr], real: bool) -> Iterator[list[Number]]:
    """The values of four expressions at the points where all of them have one."""
    for point in _indices(*sides):
        try:
            values = [worth(side, point, real, DIGITS) for side in sides]
        except NotWorkedOut:
            continue
        if all(value is not None for value in values):
            yield values


def proportional(given: tuple[Expr, Expr], gold: tuple[Expr, Expr]) -> bool | None:
    """Whether the differences of two pairs of expressions are the same but for a constant factor, which is not zero.

    Returns:
        None if that cannot be told.
    """
    trivial = [equal(*given), equal(*gold)]
    if None in trivial or any(trivial):
        return None if None in trivial else all(trivial)
    indices = _indices(*given, *gold)
    for real in (True, False):
        rows = list(_pairs((*given, *gold), real))
        if len(rows) >= min(NEEDED, len(indices)):
            with mpmath.workdps(DIGITS):
                return _one_factor(rows)
    return None


def _one_factor(rows: list[list[Number]]) -> bool:
    """Whether rows ``a, b, c, d`` have one factor f with a - b = f (c - d)."""
    if not all(isinstance(value, Fraction) for row in rows for value in row):
        rows = [[inexact(value) for value in row] for row in rows]
    differences = [(a - b, c - d) for a, b, c, d in rows]
    first, second = max(differences, key=lambda pair: min(abs(pair[0]), abs(pair[1])))
    if first == 0 or second == 0:
        return False
    factor = first / second
    for (left, right), row in zip(differences, rows, strict=True):
        if isinstance(left, Fraction):
            allowed: Number = 0
        else:
            allowed = _PROPORTIONAL * max(abs(row[0]), abs(row[1]), abs(factor * row[2]), abs(factor * row[3]))
        if abs(left - factor * right) > allowed:
            return False
    return True


def near(given: Expr, gold: Expr, tolerance: Fraction) -> bool | None:
    """Whether two constants differ by no more than the tolerance.

    Returns:
        None if that cannot be told.
    """
    for real in (True, False):
        try:
            values = _both(given, gold, 0, real, DIGITS)
        except NotWorkedOut:
            return None
        if values is None:
            continue
        if all(isinstance(value, Fraction) for value in values):
            return abs(values[0] - values[1]) <= tolerance
        with mpmath.workdps(DIGITS):
            first, second = map(inexact, values)
            return abs(first - second) <= inexact(tolerance) + _AGREEING
    return None
