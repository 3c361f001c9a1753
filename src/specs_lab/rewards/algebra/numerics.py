"""Works out expressions at fixed pseudo-random points.

Runs in a worker process only: what it works out may take long or need much memory.

An expression is worked out exactly, in rational numbers, as far as it goes, and in floating point of many digits from
there on: over the complex numbers with principal values, or over the real numbers as they are taught, where the square
root and the logarithm of a negative number do not exist, but the cube root does.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from fractions import Fraction
from functools import lru_cache
from typing import Any

import mpmath
from sympy import Basic

POINTS = 18
"""Points at which expressions with variables can be worked out."""

_DENOMINATOR = 1009
_SCALES = ((0.3, 3.0), (0.01, 0.5), (5.0, 400.0))
_MOST_BITS = 1 << 15  # of an exact number, which would soon cost more than floating point
_MOST_CONSTANT_BITS = 1 << 17  # of one without variables: it is worked out once, and 1 beside it must not be lost
_LARGEST_LOGARITHM = 1 << 40  # of a number, to the base 2
_LARGEST_FACTORIAL = 10**5
_LARGEST_EXACT_FACTORIAL = 1000
_LARGEST_ANGLE = 1 << 12  # its logarithm to the base 2

Number = Any
"""A Fraction, or a number of mpmath, which has no types."""


class Undefined(Exception):
    """The expression has no value there."""


class NotWorkedOut(Exception):
    """Whether it has a value is not known: a part is too large, or of no known sort."""


@lru_cache(maxsize=4096)
def _coordinate(name: str, index: int) -> Fraction:
    """Where a variable is at a point: of three sizes; positive, negative and of either sign."""
    digest = hashlib.sha256(f"{name} {index}".encode()).digest()
    low, high = _SCALES[index % 3]
    share = int.from_bytes(digest[:4], "big") / 2**32
    size = Fraction(round((low + (high - low) * share) * _DENOMINATOR), _DENOMINATOR)
    turn = index // 3
    return -size if turn == 2 or (turn > 2 and digest[4] % 2) else size


class _Evaluation:
    """Works out one expression at one point."""

    def __init__(self, point: int, real: bool) -> None:
        self._point = point
        self._real = real

    def value(self, node: Basic) -> Number:
        """The value of a part of the expression.

        Raises:
            NotWorkedOut: If it is too large, or of no known sort.
            Undefined: If it does not exist, or is not real where it must be.
        """
        if node.is_Rational:
            return Fraction(int(node.p), int(node.q))  # type: ignore[attr-defined]
        name = type(node).__name__
        try:
            if name in _FUNCTIONS and len(node.args) == 1:
                result = _FUNCTIONS[name](self._angle(self.value(node.args[0])))
            elif name in _RULES:
                result = _RULES[name](self, node)
            else:
                raise NotWorkedOut(f"cannot work out {name}")
        except (ZeroDivisionError, ValueError) as error:  # poles of mpmath's functions
            raise Undefined(str(error)) from error
        if isinstance(result, Fraction):
            return result if self._exact(node, _bits(result)) else inexact(result)
        return self._existing(result)

    def _exact(self, node: Basic, bits: Fraction | int) -> bool:
        """Whether a number of so many bits stays exact."""
        return bits <= _MOST_BITS or (bits <= _MOST_CONSTANT_BITS and not node.free_symbols)

    def _existing(self, result: Number) -> Number:
        if not mpmath.isfinite(result):
            raise Undefined("infinite")
        if self._real and isinstance(result, mpmath.mpc):
            raise Undefined("not real")
        return result

    def _angle(self, argument: Number) -> Number:
        if argument and mpmath.mag(inexact(argument)) > _LARGEST_ANGLE:
            raise NotWorkedOut("an argument")
        return inexact(argument)

    def missing(self, node: Basic) -> Number:
        raise Undefined("infinite")

    def variable(self, node: Basic) -> Number:
        return _coordinate(node.name, self._point)  # type: ignore[attr-defined]

    def imaginary_unit(self, node: Basic) -> Number:
        return mpmath.mpc(0, 1)

    def total(self, node: Basic) -> Number:
        values = [self.value(part) for part in node.args]
        exact = sum((value for value in values if isinstance(value, Fraction)), Fraction(0))
        rest = [value for value in values if not isinstance(value, Fraction)]
        return sum(rest, inexact(exact)) if rest else exact

    def product(self, node: Basic) -> Number:
        result: Number = Fraction(1)
        for value in [self.value(part) for part in node.args]:
            if isinstance(result, Fraction) and isinstance(value, Fraction):
                result *= value
                if not self._exact(node, _bits(result)):
                    result = inexact(result)
            else:
                result = inexact(result) * inexact(value)
        return result

    def power(self, node: Basic) -> Number:
        exponent = self.value(node.args[1])
        if type(node.args[0]).__name__ == "Exp1":
            return self._exponential(exponent)
        base = self.value(node.args[0])
        if base == 0:
            if mpmath.re(inexact(exponent)) <= 0:
                raise Undefined("a power of zero")
            return Fraction(0)
        whole = isinstance(exponent, Fraction) and exponent.denominator == 1
        if whole and isinstance(base, Fraction) and self._exact(node, _bits(base) * abs(exponent)):
            return base ** int(exponent)
        if abs(mpmath.mag(inexact(base)) * inexact(exponent)) > _LARGEST_LOGARITHM:
            raise NotWorkedOut("a power")
        if whole:
            return mpmath.power(inexact(base), int(exponent))
        if self._real and base < 0:
            if not (isinstance(exponent, Fraction) and exponent.denominator % 2 and not node.args[1].free_symbols):
                raise Undefined("a power of a negative number")
            return (-1) ** (exponent.numerator % 2) * mpmath.power(-inexact(base), inexact(exponent))
        return mpmath.power(inexact(base), inexact(exponent))

    def exponential(self, node: Basic) -> Number:
        return self._exponential(self.value(node.args[0]))

    def _exponential(self, exponent: Number) -> Number:
        if abs(exponent) > _LARGEST_LOGARITHM:
            raise NotWorkedOut("a power of e")
        return Fraction(1) if exponent == 0 else mpmath.exp(inexact(exponent))

    def logarithm(self, node: Basic) -> Number:
        values = [self.value(part) for part in node.args]
        if any(value == 0 for value in values):
            raise Undefined("a logarithm of zero")
        logarithms = [self._existing(mpmath.log(inexact(value))) for value in values]
        return logarithms[0] if len(logarithms) == 1 else logarithms[0] / logarithms[1]

    def pole_function(self, node: Basic) -> Number:
        """A trigonometric function with poles: close to one it is as large as the digits are many."""
        result = getattr(mpmath, type(node).__name__)(self._angle(self.value(node.args[0])))
        if abs(result) > mpmath.mpf(10) ** (mpmath.mp.dps * 3 // 4):
            raise Undefined("a pole")
        return result

    def absolute(self, node: Basic) -> Number:
        return abs(self.value(node.args[0]))

    def factorial(self, node: Basic) -> Number:
        argument = self.value(node.args[0])
        if abs(argument) > _LARGEST_FACTORIAL:
            raise NotWorkedOut("a factorial")
        if _countable(argument):
            return Fraction(math.factorial(int(argument)))
        return mpmath.gamma(inexact(argument) + 1)

    def binomial(self, node: Basic) -> Number:
        arguments = [self.value(part) for part in node.args]
        if any(abs(argument) > _LARGEST_FACTORIAL for argument in arguments):
            raise NotWorkedOut("a binomial coefficient")
        if all(map(_countable, arguments)):
            return Fraction(math.comb(*map(int, arguments)))
        return mpmath.binomial(*map(inexact, arguments))


_FUNCTIONS: dict[str, Callable[[Number], Number]] = {
    name: getattr(mpmath, name)
    for name in (
        "sin",
        "cos",
        "sinh",
        "cosh",
        "tanh",
        "asin",
        "acos",
        "atan",
        "asec",
        "acsc",
        "acot",
        "asinh",
        "acosh",
        "atanh",
    )
}
_RULES: dict[str, Callable[[_Evaluation, Basic], Number]] = {
    **dict.fromkeys(("ComplexInfinity", "Infinity", "NaN", "NegativeInfinity"), _Evaluation.missing),
    "Symbol": _Evaluation.variable,
    "Pi": lambda _, __: +mpmath.pi,
    "Exp1": lambda _, __: +mpmath.e,
    "ImaginaryUnit": _Evaluation.imaginary_unit,
    "Add": _Evaluation.total,
    "Mul": _Evaluation.product,
    "Pow": _Evaluation.power,
    "exp": _Evaluation.exponential,
    "log": _Evaluation.logarithm,
    **dict.fromkeys(("tan", "cot", "sec", "csc"), _Evaluation.pole_function),
    "Abs": _Evaluation.absolute,
    "factorial": _Evaluation.factorial,
    "binomial": _Evaluation.binomial,
}


def _countable(number: Number) -> bool:
    """Whether a number is whole and not negative, and small enough for exact factorials."""
    whole = isinstance(number, Fraction) and number.denominator == 1
    return whole and 0 <= number <= _LARGEST_EXACT_FACTORIAL


def _bits(number: Fraction) -> int:
    return max(number.numerator.bit_length(), number.denominator.bit_length())


def inexact(number: Number) -> Number:
    """The number in floating point of the digits that mpmath works with."""
    return mpmath.mpf(number.numerator) / number.denominator if isinstance(number, Fraction) else number


@lru_cache(maxsize=4096)
def worth(tree: Basic, point: int, real: bool, digits: int) -> Number | None:
    """The value of an expression at a point, exact or of that many digits; None if there is none.

    Args:
        tree: The expression.
        point: Which of the :data:`POINTS` points.
        real: Whether to stay within the real numbers; else principal values of the complex ones are taken.
        digits: Digits of floating point.

    Raises:
        NotWorkedOut: If it is too large, or a part is of no known sort.
    """
    with mpmath.workdps(digits):
        try:
            return _Evaluation(point, real).value(tree)
        except Undefined:
            return None
