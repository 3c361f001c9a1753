"""Expressions, equations and matrices through the grader: the workers' half has tests of its own."""

import pytest

from specs_lab.core.errors import UserError
from specs_lab.rewards.grader import grade, grade_many
from specs_lab.rewards.kinds.base import KINDS, Outcome, Pending, Terms


@pytest.mark.parametrize(
    ("text", "gold", "correct"),
    [
        ("2x+2", "2(x+1)", True),
        ("2*(x+1)", "2x+2", True),
        ("$2x+2$", "2(x+1)", True),
        ("\\(2x + 2\\).", "2(x+1)", True),
        ("y = 2x+2", "2(x+1)", True),
        ("f(x)=2x+2", "2(x+1)", True),
        ("y_1 = 2x+2", "2(x+1)", True),
        ("2x+2", "y = 2(x+1)", True),
        ("\\sqrt{8}", "2\\sqrt{2}", True),
        ("sqrt(8)", "2\\sqrt{2}", True),
        ("sin(x)^2+cos(x)^2", "1", True),
        ("0.5", "\\frac12", True),
        ("\\frac{x^2-1}{x-1}", "x+1", True),
        ("2x+3", "2(x+1)", False),
        ("2X+2", "2(x+1)", False),
        ("2y+2", "2(x+1)", False),
        ("2.828", "2\\sqrt{2}", False),
        ("0.333", "\\frac13", False),
        ("|x|", "x", False),
        ("\\sqrt{x^2}", "x", False),
        ("2x+2 or 3", "2(x+1)", False),
        ("2x+2 = 0", "2x+2", False),
        ("2x+2 = 2(x+1)", "2x+2", False),
        ("x == 2x+2", "2x+2", False),
        ("5 cm", "5", False),
        ("act", "c*a*t", True),
        ("x\u200b+1", "x+1", False),
    ],
)
def test_an_expression_is_right_if_it_can_be_rearranged_into_the_gold_answer(text: str, gold: str, correct: bool):
    assert grade(text, gold, "expression").correct is correct


@pytest.mark.parametrize(
    ("text", "gold", "precision", "correct"),
    [
        ("3.14", "\\pi", 2, True),
        ("3.15", "\\pi", 2, False),
        ("\\frac{22}{7}", "\\pi", 2, True),
        ("3.1", "\\pi", None, False),
        ("0.335", "0.33", 2, True),
        ("0.3351", "0.33", 2, False),
        ("0.33", "\\frac13", 2, True),
        ("0.3333333333", "\\frac13", None, False),
        ("1", "2", 0, False),
        ("1.5", "2", 0, True),
    ],
)
def test_a_precision_allows_half_a_unit_of_the_last_decimal(text: str, gold: str, precision: int | None, correct: bool):
    assert grade(text, gold, "expression", precision=precision).correct is correct


def test_a_derivative_is_not_its_function():
    assert not grade("f'", "f", "expression").correct
    assert not grade("x'+1", "x+1", "expression").correct


@pytest.mark.parametrize(
    ("text", "correct"),
    [
        *(("2x+1=y", True), ("y-2x-1=0", True), ("2y = 4x+2", True), ("$y=2x+1$", True), ("-y=-2x-1", True)),
        *(("y=2x+2", False), ("2x+1", False), ("y>2x+1", False), ("Y=2x+1", False), ("0=0", False)),
        *(("y=2x+1=0", False), ("y^2=(2x+1)^2", False)),
    ],
)
def test_an_equation_is_right_up_to_moving_terms_and_a_factor(text: str, correct: bool):
    assert grade(text, "y=2x+1", "equation").correct is correct


@pytest.mark.parametrize(
    ("text", "correct"),
    [
        ("\\begin{pmatrix}1&x+x\\\\3&4\\end{pmatrix}", True),
        ("\\begin{bmatrix}1&2x\\\\3&4\\end{bmatrix}", True),
        ("[[1, 2x], [3, 4]]", True),
        ("$A = [[1,2x],[3,4]]$", True),
        ("[[1, 3], [2x, 4]]", False),
        ("[[1, 2x, 3, 4]]", False),
        ("[[1, 2x], [3]]", False),
        ("[[1, 2x], [3, 4], [5, 6]]", False),
        ("[[1, 2x], [3, 5]]", False),
        ("1, 2x, 3, 4", False),
        ("\\begin{vmatrix}1&2x\\\\3&4\\end{vmatrix}", False),
    ],
)
def test_a_matrix_is_right_entry_by_entry(text: str, correct: bool):
    assert grade(text, "\\begin{pmatrix}1&2x\\\\3&4\\end{pmatrix}", "matrix").correct is correct


@pytest.mark.parametrize(
    ("gold", "kind"),
    [
        *(("cat", "expression"), ("", "expression"), ("x=", "expression"), ("x==y", "equation")),
        *(("x+1", "equation"), ("x > 1", "equation"), ("[[1,2],[3]]", "matrix"), ("1, 2", "matrix")),
        *(("x = y = 1", "equation"),),
    ],
)
def test_a_gold_answer_that_is_none_of_its_kind_is_a_data_error(gold: str, kind: str):
    with pytest.raises(UserError, match=f"type '{kind}'"):
        grade("1", gold, kind)


@pytest.mark.parametrize(
    ("text", "gold", "kind"),
    [
        *(("x+1", "x + 1", "expression"), ("1/2", "0.5", "expression"), ("y = x", "y=x", "equation")),
        *(("[[1,2]]", "[[1, 2]]", "matrix"), ("[[1]]", "[[1, 2]]", "matrix")),
    ],
)
def test_what_is_plain_is_decided_without_asking(text: str, gold: str, kind: str):
    rules = KINDS.get(kind)
    form = rules.read_gold(gold, Terms())
    assert isinstance(rules.compare(rules.read(text, form, Terms()), form, Terms()), Outcome)


@pytest.mark.parametrize(("text", "gold", "kind"), [("x+1", "1+x", "expression"), ("y=x", "x=y", "equation")])
def test_what_is_asked_is_decided_by_the_reply(text: str, gold: str, kind: str):
    rules = KINDS.get(kind)
    form = rules.read_gold(gold, Terms())
    pending = rules.compare(rules.read(text, form, Terms()), form, Terms())
    assert isinstance(pending, Pending)
    assert pending.decide([{"equal": True}]).correct
    assert pending.decide([{"equal": False, "reason": "not equal"}]) == Outcome(False, "not equal")


def test_many_answers_are_compared_at_once_each_with_its_gold_answer():
    verdicts = grade_many(
        ["2x+2", "x", "y=x", "[[x+x]]", "3.14"],
        ["2(x+1)", "x+0", "2y=2x", "[[2x]]", "\\pi"],
        ["expression", "expression", "equation", "matrix", "expression"],
        precisions=[None, None, None, None, 2],
    )
    assert [verdict.correct for verdict in verdicts] == [True] * 5
