r"""Puts parts of an expression together as unambiguous LaTeX, and refuses what could cost too much to work out.

Every product gets a sign, every argument brackets. Constants are followed in floating point, which is enough to tell
that an exponent or a factorial is too large, however it is written: ``2^{999\cdot 999}``, ``9^{9^{9}}``.
"""

from __future__ import annotations

import cmath
import math
from collections.abc import Callable
from typing import NamedTuple

from specs_lab.rewards.algebra.symbols import Refused

LARGEST_EXPONENT = 1000
"""Absolute value of a constant exponent, and of the arguments of a constant binomial coefficient."""

LARGEST_FACTORIAL = 200

_SUM, _PRODUCT, _POWER, _ATOM = range(4)  # how tightly the outermost operation binds
_HUGE = complex(math.inf, 0.0)
_UNKNOWN = complex(math.nan, 0.0)

_VALUES: dict[str, Callable[[complex], complex]] = {
    **{name: getattr(cmath, name) for name in ("sin", "cos", "tan", "sinh", "cosh", "tanh")},
    **{f"arc{name}": getattr(cmath, f"a{name}") for name in ("sin", "cos", "tan")},
    "ln": cmath.log,
    "log": cmath.log10,
}


class Node(NamedTuple):
    """A part of an expression.

    Attributes:
        text: As canonical LaTeX.
        rank: How tightly its outermost operation binds.
        value: About what it is worth, infinity if too large and nan if unknown; None if it contains variables.
        form: ``integer`` or ``decimal`` for a bare number, ``proper`` for a proper fraction of integers.
    """

    text: str
    rank: int = _ATOM
    value: complex | None = None
    form: str = ""

    def within(self, rank: int) -> str:
        """The text, in brackets unless it binds as tightly as ``rank``."""
        return self.text if self.rank >= rank else f"({self.text})"


def _worth(function: Callable[..., complex], *parts: Node) -> complex | None:
    """About what a function of nodes is worth; floating point is enough to tell what is too large."""
    values = [part.value for part in parts]
    if any(value is None for value in values):
        return None
    try:
        return complex(function(*values))
    except OverflowError:
        return _HUGE
    except (ValueError, ZeroDivisionError):
        return _UNKNOWN


def add(left: Node, right: Node, sign: str = "+") -> Node:
    """A sum, or with the sign ``-`` a difference."""
    text = f"({right.text})" if right.text.startswith("-") or (sign == "-" and right.rank == _SUM) else right.text
    value = _worth(lambda a, b: a + b if sign == "+" else a - b, left, right)
    return Node(f"{left.text}{sign}{text}", _SUM, value)


def multiply(left: Node, right: Node) -> Node:
    """A product."""
    text = f"({right.text})" if right.text.startswith("-") else right.within(_PRODUCT)
    return Node(f"{left.within(_PRODUCT)}\\cdot {text}", _PRODUCT, _worth(lambda a, b: a * b, left, right))


def divide(left: Node, right: Node) -> Node:
    """A quotient."""
    proper = left.form == right.form == "integer" and 0 < int(left.text) < int(right.text)
    value = _worth(lambda a, b: a / b, left, right)
    return Node(f"\\frac{{{left.text}}}{{{right.text}}}", _POWER, value, "proper" if proper else "")


def negate(node: Node) -> Node:
    """The negative."""
    text = f"({node.text})" if node.rank == _SUM or node.text.startswith("-") else node.text
    return Node(f"-{text}", _PRODUCT, _worth(lambda a: -a, node))


def _limited(node: Node, largest: int) -> None:
    """Refuses a constant that is larger, or of a size that is not known."""
    if node.value is not None and not abs(node.value) <= largest:
        raise Refused("too large to be worked out")


def power(base: Node, exponent: Node) -> Node:
    """A power.

    Raises:
        Refused: If the exponent is a constant larger than :data:`LARGEST_EXPONENT`, or the base is too large already.
    """
    _limited(exponent, LARGEST_EXPONENT)
    if base.value is not None and exponent.value is not None and not cmath.isfinite(base.value):
        raise Refused("too large to be worked out")
    value = _worth(lambda a, b: a**b, base, exponent)
    return Node(f"{base.within(_ATOM)}^{{{exponent.text}}}", _POWER, value)


def root(radicand: Node, index: Node | None) -> Node:
    """A root, the square root if there is no index.

    Raises:
        Refused: If the index is a constant larger than :data:`LARGEST_EXPONENT`.
    """
    if index is None:
        return Node(f"\\sqrt{{{radicand.text}}}", _ATOM, _worth(cmath.sqrt, radicand))
    _limited(index, LARGEST_EXPONENT)
    value = _worth(lambda a, b: a ** (1 / b), radicand, index)
    return Node(f"\\sqrt[{index.text}]{{{radicand.text}}}", _ATOM, value)


def factorial(node: Node) -> Node:
    """A factorial.

    Raises:
        Refused: If it is that of a constant larger than :data:`LARGEST_FACTORIAL`.
    """
    _limited(node, LARGEST_FACTORIAL)
    return Node(f"{node.within(_ATOM)}!", _POWER, _worth(lambda a: math.gamma(a.real + 1), node))


def binomial(upper: Node, lower: Node) -> Node:
    """A binomial coefficient.

    Raises:
        Refused: If it is that of a constant larger than :data:`LARGEST_EXPONENT`.
    """
    for node in (upper, lower):
        _limited(node, LARGEST_EXPONENT)
    value = _worth(lambda a, b: math.comb(int(a.real), int(b.real)), upper, lower)
    return Node(f"\\binom{{{upper.text}}}{{{lower.text}}}", _POWER, value)


def apply(name: str, argument: Node, base: Node | None = None) -> Node:
    """A function of an argument; only ``log`` has a base."""
    if name == "exp":
        return power(Node("e", _ATOM, complex(math.e)), argument)
    if name == "abs":
        return Node(f"\\lvert {argument.text}\\rvert", _ATOM, _worth(lambda a: complex(abs(a)), argument))
    subscript = "" if base is None else f"_{{{base.text}}}"
    value = _worth(_VALUES.get(name, lambda _: _UNKNOWN), argument)
    if base is not None:
        value = _worth(lambda a, b: cmath.log(a) / cmath.log(b), argument, base)
    return Node(f"\\{name}{subscript}({argument.text})", _POWER, value)


def number(text: str) -> Node:
    """A number."""
    return Node(text, _ATOM, complex(float(text)), "decimal" if "." in text else "integer")
