"""Intervals are the sets of numbers that they contain, however they are written."""

from fractions import Fraction
from itertools import product
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from specs_lab.core.errors import UserError
from specs_lab.rewards.grader import grade
from specs_lab.rewards.kinds.base import KINDS, Terms


def read(text: str) -> str | None:
    """The intervals in a row, or None."""
    union = KINDS.get("interval").read_gold(text, Terms())
    return None if union is None else " ".join(map(str, union))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[1, 3)", "[1, 3)"),
        ("[1,3)", "[1, 3)"),
        ("[ 1 , 3 )", "[1, 3)"),
        ("\\left[1, 3\\right)", "[1, 3)"),
        ("\\lbrack 1, 3)", "[1, 3)"),
        ("$[1, 3)$", "[1, 3)"),
        ("\\([1, 3)\\)", "[1, 3)"),
        ("**[1, 3)**.", "[1, 3)"),
        ("\\text{[1, 3)}", "[1, 3)"),
        ("\uff3b1\uff0c 3\uff09", "[1, 3)"),
        ("x \\in [1, 3)", "[1, 3)"),
        ("x\u2208[1,3)", "[1, 3)"),
        ("1 \\le x < 3", "[1, 3)"),
        ("1 <= x < 3", "[1, 3)"),
        ("1\u2264x<3", "[1, 3)"),
        ("3 > x \\geq 1", "[1, 3)"),
        ("1 \\leqslant t \\lt 3", "[1, 3)"),
        ("(1, 3]", "(1, 3]"),
        ("(1, 3)", "(1, 3)"),
        ("[0.5, 3/2]", "[1/2, 3/2]"),
        ("[-\\frac{1}{2}, \\frac32]", "[-1/2, 3/2]"),
        ("[\u22121, 1]", "[-1, 1]"),
        ("(-1) < x < 1", "(-1, 1)"),
        ("(-\\infty, 2]", "(-inf, 2]"),
        ("(-\u221e, +\u221e)", "(-inf, inf)"),
        ("(- \\infty, \\infty)", "(-inf, inf)"),
        ("(-inf, infinity)", "(-inf, inf)"),
        ("x > 2", "(2, inf)"),
        ("2 < x", "(2, inf)"),
        ("x >= 2", "[2, inf)"),
        ("x \\ge 2", "[2, inf)"),
        ("2 \\geq y", "(-inf, 2]"),
        ("x<-2", "(-inf, -2)"),
        ("[2, 2]", "[2, 2]"),
        ("(-\\infty, 2] \\cup [5, 6)", "(-inf, 2] [5, 6)"),
        ("[5, 6) \u222a (-\\infty, 2]", "(-inf, 2] [5, 6)"),
        ("[5, 6)U(-\\infty, 2]", "(-inf, 2] [5, 6)"),
        ("x < 1 or x > 2", "(-inf, 1) (2, inf)"),
        ("x < 1 \\text{ or } x \\ge 2", "(-inf, 1) [2, inf)"),
        ("x < 1, or x > 2", "(-inf, 1) (2, inf)"),
    ],
)
def test_an_interval_is_read_in_any_notation(text: str, expected: str):
    assert read(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[1, 2) \\cup [2, 3]", "[1, 3]"),
        ("(1, 2] \\cup (2, 3)", "(1, 3)"),
        ("(1, 2) \\cup (2, 3)", "(1, 2) (2, 3)"),
        ("(1, 2) \\cup [2, 2] \\cup (2, 3)", "(1, 3)"),
        ("[1, 3] \\cup [2, 4]", "[1, 4]"),
        ("[1, 4] \\cup (2, 3)", "[1, 4]"),
        ("(1, 3) \\cup [1, 2]", "[1, 3)"),
        ("(1, 3) \\cup [2, 3]", "(1, 3]"),
        ("[1, 2] \\cup [1, 2]", "[1, 2]"),
        ("(-\\infty, 1) \\cup [1, \\infty)", "(-inf, inf)"),
        ("(-\\infty, 1) \\cup (1, \\infty)", "(-inf, 1) (1, inf)"),
        ("x \\le 1 or x > 0", "(-inf, inf)"),
    ],
)
def test_intervals_that_overlap_or_touch_are_one(text: str, expected: str):
    assert read(text) == expected
    assert grade(expected.replace(" [", " \\cup [").replace(" (", " \\cup ("), text, "interval").correct


@pytest.mark.parametrize(
    "text",
    [
        *("", "1", "x", "[", "()", "[1]", "[1, 2, 3]", "1, 2", "[1; 2]", "]1, 2[", "[1, 2", "1, 2]"),
        *("[1, 2] [3, 4]", "[,]", "[3, 1]", "(1, 1)", "[1, 1)", "(1, 1]", "3 < x < 1", "1 < x < 1", "(\\infty, 1)"),
        *("(1, -\\infty)", "(\\infty, \\infty)", "[-\\infty, 1]", "(1, \\infty]", "-\\infty \\le x < 1", "x = 2"),
        *("x \\ne 2", "x => 2", "x =< 2", "1 < x > 3", "1 < 2 < 3", "x > 2 and x < 3", "2x > 4", "-x > 2"),
        *("[1, 2] \\cup", "\\cup", "[1, 2] and [3, 4]", "[1, x > 2]", "[1 cm, 3 cm]", "[5%, 6%]", "[a cat, 3)"),
        *("[1,\u200b3)", "\u202e[1, 3)", "[1,3)" + " " * 400 + "x", "[1, " + "9" * 400 + ")"),
    ],
)
def test_what_is_no_interval_or_an_empty_one_is_none(text: str):
    assert read(text) is None


@pytest.mark.parametrize("gold", ["[3, 1]", "(1, 1)", "cat", "(\\infty, 2)"])
def test_a_gold_answer_that_is_none_is_a_data_error(gold: str):
    with pytest.raises(UserError, match="type 'interval'"):
        grade("[1, 3)", gold, "interval")


@pytest.mark.parametrize(
    "text",
    [
        *("[1, 3]", "(1, 3)", "(1, 3]", "[1, 3.01)", "[0.99, 3)", "[1, \\infty)", "[-1, 3)", "[1, 2) \\cup (2, 3)"),
        *("1 < x < 3", "x \\ge 1", "1, 3", "[1, 3", "[3, 1)", "{1, 3}", "[1, 3) \\cup [4, 5]", "1 \\le x \\le 3"),
        *("[1, 2)", ""),
    ],
)
def test_a_near_miss_is_wrong(text: str):
    assert not grade(text, "[1, 3)", "interval").correct
    assert not grade(text, "[1, 3)").correct


def test_the_alternatives_of_an_or_are_about_one_variable():
    assert grade("y < 1 or y > 2", "x < 1 or x > 2").correct
    assert not grade("x < 1 or y > 2", "x < 1 or x > 2").correct


# An independent reading: which numbers of a grid does a union contain? Ends are whole, so halves tell all.
GRID = [Fraction(number, 2) for number in range(-12, 13)]
ENDS = (-inf, -3, -2, 0, 1, 3, inf)
Piece = tuple[float, bool, float, bool]
PIECES: list[Piece] = list(product(ENDS, (True, False), ENDS, (True, False)))


def members(pieces: list[Piece]) -> list[Fraction]:
    def contains(piece: Piece, x: Fraction) -> bool:
        low, low_in, high, high_in = piece
        return (low < x or (low_in and low == x)) and (x < high or (high_in and x == high))

    return [x for x in GRID if any(contains(piece, x) for piece in pieces)]


def proper(piece: Piece) -> bool:
    low, low_in, high, high_in = piece
    if (low == -inf and low_in) or (high == inf and high_in) or low == inf or high == -inf:
        return False
    return low < high or (low == high and low_in and high_in)


def shown(end: float) -> str:
    return {inf: "\\infty", -inf: "-\\infty"}.get(end, str(end))


def brackets(piece: Piece) -> str:
    low, low_in, high, high_in = piece
    return f"{'[' if low_in else '('}{shown(low)}, {shown(high)}{']' if high_in else ')'}"


def inequality(piece: Piece) -> str:
    low, low_in, high, high_in = piece
    below, above = "\\le" if low_in else "<", "<=" if high_in else "<"
    if low == -inf:
        return f"x {above} {shown(high)}"
    return f"{shown(low)} {below} x" + ("" if high == inf else f" {above} {shown(high)}")


def test_an_interval_is_read_unless_it_is_empty_or_includes_infinity():
    assert [piece for piece in PIECES if (read(brackets(piece)) is not None) != proper(piece)] == []


UNIONS = st.lists(st.sampled_from([piece for piece in PIECES if proper(piece)]), min_size=1, max_size=4)


@given(UNIONS, UNIONS, st.data())
def test_unions_are_equal_if_they_have_the_same_members(first: list[Piece], second: list[Piece], data):
    def written(pieces: list[Piece]) -> str:
        bounded = all(piece[:1] + piece[2:3] != (-inf, inf) for piece in pieces)
        if bounded and data.draw(st.booleans()):
            return " or ".join(map(inequality, pieces))
        return data.draw(st.sampled_from([" \\cup ", "\u222a", " U "])).join(map(brackets, pieces))

    gold = written(second)
    assert grade(written(first), gold, "interval").correct == (members(first) == members(second))
    assert grade(written(second[::-1]), gold, "interval").correct


@pytest.mark.parametrize(
    ("text", "gold", "correct"),
    [
        ("(-\\infty, \\sqrt{8}]", "(-\\infty, 2\\sqrt{2}]", True),
        ("x \\le \\sqrt{8}", "(-\\infty, 2\\sqrt{2}]", True),
        ("(-\\infty, \\sqrt{8})", "(-\\infty, 2\\sqrt{2}]", False),
        ("(-\\infty, 2.828]", "(-\\infty, 2\\sqrt{2}]", False),
        ("[0, \\infty)", "[0, 2\\sqrt{2})", False),
        ("[1, \\sqrt{9})", "[1, 3)", True),
        ("[a, b+1)", "[a, 1+b)", True),
        ("[b, a)", "[a, b)", False),
        ("(-\\infty, -\\sqrt{2}) \\cup (\\sqrt{2}, \\infty)", "x < -\\sqrt{2} or x > \\sqrt{2}", True),
        (
            "(\\sqrt{2}, \\infty) \\cup (-\\infty, -\\sqrt{2})",
            "(-\\infty, -\\sqrt{2}) \\cup (\\sqrt{2}, \\infty)",
            True,
        ),
    ],
)
def test_ends_may_be_expressions(text: str, gold: str, correct: bool):
    assert grade(text, gold, "interval").correct is correct
