r"""The worker's half of grading mathematics: whether expressions, equations and lists of expressions are equal.

It is imported by worker processes only (:mod:`specs_lab.rewards.isolation.workers`), which are killed when a comparison
takes too long. Importing it brings sympy and Math-Verify, and has the parser build its tables, so that the first
request is as quick as the others.

Every text is read by :mod:`specs_lab.rewards.algebra.notation` first, then written for Math-Verify's parser, an ANTLR
grammar that evaluates nothing but numbers. That parser has habits which the writing works around: it puts variables
into lower case, reads ``2(3)`` as a mixed number, ``I^2`` as ``I``, decimals as floating point and digits with Python's
``eval``. Math-Verify's own comparison rounds to six decimals, so that it calls 0.333333 a third, and misses many
identities. So :mod:`specs_lab.rewards.algebra.comparison` decides, and Math-Verify only where that cannot.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from fractions import Fraction
from functools import lru_cache
from typing import Any

from latex2sympy2_extended import NormalizationConfig
from math_verify import LatexExtractionConfig, parse, verify
from sympy import Basic, Expr, Rational, Symbol

from specs_lab.rewards.algebra import comparison
from specs_lab.rewards.algebra.notation import ANY_LETTERS, read_expression
from specs_lab.rewards.algebra.symbols import FUNCTIONS, VARIABLE

logging.getLogger("math_verify").setLevel(logging.ERROR)  # its timeouts are off on purpose: the worker has a limit

_AS_WRITTEN = LatexExtractionConfig(
    boxed_match_priority=-1,
    normalization_config=NormalizationConfig(
        basic_latex=False, units=False, malformed_operators=False, nits=False, boxed="none"
    ),
)
_PART = re.compile(VARIABLE.pattern + r"|(?P<number>[0-9]+(?:\.[0-9]+)?)|(?P<bracket>[(){}])")
_CONSTANTS = {"e": "{e}", "i": "(I)"}
_INFINITIES = {"\\infty", "-\\infty"}
_WARM_UP = "-\\frac{x^2+\\sqrt{2}}{y_1}+\\sin(2x)\\ln(3)-\\log_2(|x|)"


def _symbol(sort: str, text: str) -> str:
    r"""A variable (``v``) or a number (``n``) as a symbol: its text in hexadecimal digits, which survive lower case."""
    return f"\\variable{{{sort}{text.encode().hex()}}}"


def _for_parser(latex: str) -> str:
    r"""Canonical LaTeX as the parser reads it right, and fast.

    Variables and numbers become symbols, which tells ``X`` from ``x`` and keeps the parser from reading digits as
    Python. A function is put in braces, its argument over 1. This and ``0+`` in front spare the grammar from looking
    for sets, intervals and tuples, which can take it a hundred times as long.
    """
    written, closing, start, applied = [_symbol("n", "0"), "+"], list[str](), 0, False
    for match in _PART.finditer(latex):
        part = match.group()
        text = part
        if match["name"]:
            text = _CONSTANTS.get(part) or _symbol("v", part)
        elif match["number"]:
            text = _symbol("n", part)
        elif match["command"] and part[1:] in FUNCTIONS and part != "\\sqrt":
            text = f"{{{part}"
            applied = latex[match.end()] == "("
        elif part == "(":
            text = "\\frac{" if applied else "("
            closing.append(f"}}{{{_symbol('n', '1')}}}}}" if applied else ")")
            applied = False
        elif part == "{":
            closing.append("base" if latex[: match.start()].endswith("\\log_") else "}")
        elif match["bracket"]:
            text = closing.pop()
            if text == "base":  # of a logarithm: its argument follows
                text, applied = "}", True
        written += [latex[start : match.start()], text]
        start = match.end()
    return "".join([*written, latex[start:]])


def _with_numbers(tree: Basic) -> Basic:
    """A parsed expression with numbers in the places of their symbols, and nothing worked out."""
    if isinstance(tree, Symbol) and tree.name.startswith("n"):
        number = Fraction(bytes.fromhex(tree.name[1:]).decode())
        return Rational(number.numerator, number.denominator)
    if not tree.args:
        return tree
    return tree.func(*map(_with_numbers, tree.args), evaluate=False)  # type: ignore[call-arg]


@lru_cache(maxsize=2048)
def _tree(text: str) -> Expr | None:
    """A text as an expression of sympy, nothing in it worked out; None if it is no expression."""
    latex = read_expression(text, ANY_LETTERS)
    if latex is None or latex in _INFINITIES:
        return None
    found = parse(f"${_for_parser(latex)}$", [_AS_WRITTEN], fallback_mode="no_fallback", parsing_timeout=None)  # type: ignore[arg-type]
    tree = _with_numbers(found[0]) if len(found) == 1 and isinstance(found[0], Expr) else None
    return tree if isinstance(tree, Expr) else None


_tree(_WARM_UP)


class _BadGold(Exception):
    """The gold answer cannot be compared with; says why."""


def _gold(text: str) -> Expr:
    tree = _tree(text)
    if tree is None:
        raise _BadGold(f"{text} does not parse")
    if not comparison.exists(tree):
        raise _BadGold(f"{text} has no value")
    return tree


def _given(text: str) -> tuple[Expr | None, str]:
    tree = _tree(text)
    if tree is None:
        return None, "does not parse"
    return (tree, "") if comparison.exists(tree) else (None, "has no value")


def _verified(given: Expr, gold: Expr) -> bool:
    """Math-Verify's own verdict, in both directions."""
    return verify(gold, given, timeout_seconds=None) and verify(given, gold, timeout_seconds=None)


def _infinity(text: str) -> str | None:
    latex = read_expression(text)
    return latex if latex in _INFINITIES else None


def _equal(given: str, gold: str, tolerance: str | None = None) -> dict[str, Any]:
    if (infinity := _infinity(gold)) is not None:
        return _verdict(_infinity(given) == infinity)
    gold_tree = _gold(gold)
    given_tree, fault = _given(given) if _infinity(given) is None else (None, "is infinite")
    if given_tree is None:
        return {"equal": False, "reason": fault}
    if tolerance is not None and not (given_tree.free_symbols or gold_tree.free_symbols):
        close = comparison.near(given_tree, gold_tree, Fraction(tolerance))
        return _verdict(close, f"within {tolerance}", f"differs by more than {tolerance}")
    equal = comparison.equal(given_tree, gold_tree)
    if equal is None:
        return _verdict(_verified(given_tree, gold_tree), "equal by simplification", "not equal by simplification")
    return _verdict(equal)


def _verdict(equal: bool | None, right: str = "equal", wrong: str = "not equal") -> dict[str, Any]:
    if equal is None:
        return {"equal": False, "reason": "too large to be worked out"}
    return {"equal": equal, "reason": right if equal else wrong}


def _equation(given: Sequence[str], gold: Sequence[str]) -> dict[str, Any]:
    left, right = (_gold(side) for side in gold)
    sides: list[Expr] = []
    for side in given:
        tree, fault = _given(side)
        if tree is None:
            return {"equal": False, "reason": fault}
        sides.append(tree)
    same = comparison.proportional((sides[0], sides[1]), (left, right))
    if same is None:
        same = _verified(sides[0] - sides[1], left - right) or _verified(sides[1] - sides[0], left - right)
    return _verdict(same, "the same equation", "another equation")


def _equal_all(given: Sequence[str], gold: Sequence[str]) -> dict[str, Any]:
    _parses(gold)
    if len(given) != len(gold):
        return {"equal": False, "reason": f"{len(given)} elements, not {len(gold)}"}
    for index, (one, other) in enumerate(zip(given, gold, strict=True), start=1):
        reply = _equal(one, other)
        if not reply["equal"]:
            return {"equal": False, "reason": f"element {index}: {reply['reason']}"}
    return _verdict(True)


def _parses(gold: Sequence[str]) -> dict[str, Any]:
    for text in gold:
        if _infinity(text) is None:
            _gold(text)
    return {"parses": True, "reason": "parses"}


def handle(request: dict[str, Any]) -> dict[str, Any]:
    r"""Replies to one request; both are JSON data. Expressions are texts that ``notation.read_expression`` reads.

    - ``{"task": "equal", "given": …, "gold": …, "tolerance": "0.005" or null}``: whether two expressions are equal.
      With a tolerance, constants may differ by as much. Infinities are equal to themselves.
    - ``{"task": "equal_all", "given": [...], "gold": [...]}``: whether they are one by one, and as many.
    - ``{"task": "equation", "given": [left, right], "gold": [left, right]}``: whether two equations are the same
      but for swapped sides, moved terms and a constant factor.
    - ``{"task": "parses", "gold": [...]}``: whether gold answers can be compared with.

    Returns:
        ``{"equal": bool, "reason": str}``, for the last task ``{"parses": bool, "reason": str}``. If it is the gold
        answer that does not parse, or has no value anywhere (``1/0``), ``{"error": "gold", "reason": str}``.

    Raises:
        ValueError: If there is no such task.
    """
    task = request["task"]
    try:
        if task == "equal":
            return _equal(request["given"], request["gold"], request.get("tolerance"))
        if task == "equal_all":
            return _equal_all(request["given"], request["gold"])
        if task == "equation":
            return _equation(request["given"], request["gold"])
        if task == "parses":
            return _parses(request["gold"])
    except _BadGold as fault:
        return {"parses": False, "reason": str(fault)} if task == "parses" else {"error": "gold", "reason": str(fault)}
    raise ValueError(f"there is no task {task!r}")
