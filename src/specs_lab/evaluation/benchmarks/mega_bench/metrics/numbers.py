"""Metrics of numbers: equal, close, or near in proportion."""

from __future__ import annotations

import re
from typing import Any

from specs_lab.evaluation.benchmarks.literals import NotLiteral, literal
from specs_lab.evaluation.benchmarks.mega_bench.arithmetic import value_of
from specs_lab.evaluation.benchmarks.mega_bench.metrics.strings import simple
from specs_lab.evaluation.benchmarks.mega_bench.registry import BadGold, metric
from specs_lab.evaluation.benchmarks.mega_bench.values import as_list
from specs_lab.rewards.grammar import boxes

_CLOSE = 0.01
"""Largest difference of equal numbers, as a share of the right one."""
_LARGEST_ERROR = 0.1
_LARGEST_ANGLE = 10.0
_HUGE = 1e300
_MATHEMATICS_MODE = re.compile(r"\\[()\[\]]")
_EQUALS = re.compile(r"[=\u2248]|\\approx")
_PI = "3.14"
_WRITTEN = (
    (re.compile(r"\\pi(?![A-Za-z])"), "\u03c0"),
    (re.compile(r"(?<=\d)\s?\u03c0"), f"*{_PI}"),
    (re.compile(r"\u03c0"), f"({_PI})"),
    (re.compile(r"\\?%"), "/100"),
    (re.compile(r"\\?[$\u00a5]|\u00b0C| C|\u00b0"), ""),
)


def _number(value: Any) -> float | None:
    """A number, or the number that a text is; None if it is none that is finite."""
    if isinstance(value, str):
        try:
            value = literal(value)
        except NotLiteral:
            return None
    return float(value) if isinstance(value, int | float) and -_HUGE <= value <= _HUGE else None


def _gold_number(gold: Any) -> float:
    number = _number(gold)
    if number is None:
        raise BadGold(f"{str(gold)[:40]!r} is no number")
    return number


@metric("number_rel_diff_ratio")
def relative(given: Any, gold: Any) -> float:
    """1 less the difference as a share of the right number, 0 at least; of 0 only 0 is right."""
    wanted, number = _gold_number(gold), _number(given)
    if number is None:
        return 0.0
    if wanted == 0:
        return float(number == 0)
    return max(0.0, 1 - abs((number - wanted) / wanted))


@metric("normalized_rmse")
def error(given: Any, gold: Any) -> float:
    """1 for no difference, falling to 0 at a difference of 0.1."""
    wanted, number = _gold_number(gold), _number(given)
    return 0.0 if number is None else 1 - min(abs(number - wanted), _LARGEST_ERROR) / _LARGEST_ERROR


@metric("angle_seq_float_rmse")
def angles(given: Any, gold: Any) -> float:
    """1 for no difference, falling to 0 at a mean difference of 10; as many numbers as the answer has."""
    wanted = [_gold_number(one) for one in as_list(gold)]
    if not wanted:
        raise BadGold("holds no number")
    numbers = [_number(one) for one in as_list(given)]
    known = [number for number in numbers if number is not None]
    if len(numbers) != len(wanted) or len(known) != len(numbers):
        return 0.0
    off = sum(abs(one - other) for one, other in zip(known, wanted, strict=True)) / len(wanted)
    return 1 - min(off, _LARGEST_ANGLE) / _LARGEST_ANGLE


@metric("positive_int_match")
def positive(given: Any, gold: Any) -> float | None:
    """Equal whole numbers; counts only if one of them is positive."""
    wanted, number = _whole(gold), _whole(given)
    if wanted is None:
        raise BadGold(f"{str(gold)[:40]!r} is no whole number")
    if number is None:
        return 0.0
    return None if wanted <= 0 and number <= 0 else float(number == wanted)


def _whole(value: Any) -> int | None:
    if isinstance(value, str):
        try:
            value = literal(value)
        except NotLiteral:
            return None
    return value if isinstance(value, int) else None


def _quantity(text: str) -> tuple[float, ...] | None:
    """The value of arithmetic without its units: one number, or those of a list or tuple; None if it is none."""
    for form, meant in _WRITTEN:
        text = form.sub(meant, text)
    return value_of(text)


@metric("general_single_numerical_match")
def close(given: Any, gold: Any) -> float:
    """Numbers within 1 % of the right one, of several those of the same rank; what is no number as texts alike."""
    texts = [_assigned(str(one)) for one in (given, gold)]
    number, wanted = (_quantity(text) for text in texts)
    if number is None or wanted is None:
        return simple(texts[0], texts[1])
    if len(number) != len(wanted):
        return 0.0
    pairs = zip(sorted(number), sorted(wanted), strict=True)
    return float(all(abs(one - other) <= abs(other) * _CLOSE for one, other in pairs))


def _assigned(text: str) -> str:
    """Without delimiters of mathematics mode, and what stands before an equals sign."""
    text = _MATHEMATICS_MODE.sub("", text)
    sign = _EQUALS.search(text)
    behind = text[sign.end() :].lstrip().partition("\n")[0].strip() if sign else ""
    return behind or text


@metric("boxed_single_numerical_match")
def boxed(given: Any, gold: Any) -> float:
    r"""As ``general_single_numerical_match``, of what the first ``\boxed{}`` says, if there is one."""
    first, wanted = (next((box.content for box in boxes(str(one))), None) or str(one) for one in (given, gold))
    return close(first, wanted)
