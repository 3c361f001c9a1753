"""The value of arithmetic that is written in Python or in simple LaTeX. Nothing is evaluated as code."""

from __future__ import annotations

import ast
import math
import re
import warnings
from collections.abc import Callable

_LONGEST = 400
_LARGEST = 1e300
_LARGEST_POWER = 100
_DEEPEST = 30
_THOUSANDS = re.compile(r"(?<![\d.])\d{1,3}(?:(?:,|\{,\}|\\,)\d{3})+(?![\d,])")
_SEPARATOR = re.compile(r",|\{,\}|\\,")
_GROUP = r"\{([^{}]*)\}"
_FRACTION = re.compile(rf"\\[dt]?frac\s*(?:{_GROUP}\s*{_GROUP}|(\d)(\d))")
_ROOT = re.compile(rf"\\sqrt\s*(?:{_GROUP}|(\d))")
_TEXT = re.compile(rf"\\(?:text|mathrm|mathbf)\s*{_GROUP}")
_SIGNS = (("\\left", ""), ("\\right", ""), ("\\times", "*"), ("\\cdot", "*"), ("\\div", "/"), ("\\!", ""), ("\\,", ""))
_MORE_SIGNS = (("\u00d7", "*"), ("\u00f7", "/"), ("\u2212", "-"), ("^", "**"), ("{", "("), ("}", ")"))
_ALLOWED = re.compile(r"[\d\s.,+\-*/()\[\]eE]*\d[\d\s.,+\-*/()\[\]eE]*")
_OPERATIONS: dict[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: lambda one, other: one + other,
    ast.Sub: lambda one, other: one - other,
    ast.Mult: lambda one, other: one * other,
    ast.Div: lambda one, other: one / other,
}


class _NoValue(ValueError):
    """Not arithmetic, or its value is none."""


def value_of(text: str) -> tuple[float, ...] | None:
    r"""The numbers that a text comes to: one, or those of a list or tuple; None if it is no arithmetic.

    Understood are decimals with or without commas between thousands, ``+ - * / ^``, brackets, ``\frac``, ``\sqrt``
    and ``\times``; powers up to 100.
    """
    if len(text) > _LONGEST:
        return None
    plain = _plain(text)
    if not _ALLOWED.fullmatch(plain):
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of "1(2)", which Python takes for a call
            tree = ast.parse(plain.strip(), mode="eval").body
        parts = tree.elts if isinstance(tree, ast.Tuple | ast.List) else [tree]
        return tuple(_checked(_value(part, 0)) for part in parts)
    except (_NoValue, SyntaxError, ValueError, ArithmeticError, MemoryError, RecursionError):
        return None


def _plain(text: str) -> str:
    """LaTeX as Python writes it."""
    text = _THOUSANDS.sub(lambda match: _SEPARATOR.sub("", match[0]), text)
    for written, meant in _SIGNS:
        text = text.replace(written, meant)
    text = _TEXT.sub(r"\1", text)
    for _ in range(_DEEPEST):
        reduced = _FRACTION.sub(lambda m: f"(({m[1] or m[3] or ''})/({m[2] or m[4] or ''}))", text)
        reduced = _ROOT.sub(lambda m: f"(({m[1] or m[2] or ''})**(1/2))", reduced)
        if reduced == text:
            break
        text = reduced
    for written, meant in _MORE_SIGNS:
        text = text.replace(written, meant)
    return text


def _checked(value: float) -> float:
    if not -_LARGEST <= value <= _LARGEST:
        raise _NoValue
    return float(value)


def _value(node: ast.expr, depth: int) -> float:
    if depth > _DEEPEST:
        raise _NoValue
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        return _checked(node.value)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd):
        inner = _value(node.operand, depth + 1)
        return -inner if isinstance(node.op, ast.USub) else inner
    if not isinstance(node, ast.BinOp):
        raise _NoValue
    left, right = _value(node.left, depth + 1), _value(node.right, depth + 1)
    if isinstance(node.op, ast.Pow):
        if abs(right) > _LARGEST_POWER or (left < 0 and right != int(right)):
            raise _NoValue
        return _checked(math.pow(left, right))
    if type(node.op) not in _OPERATIONS:
        raise _NoValue
    return _checked(_OPERATIONS[type(node.op)](left, right))
