"""The type of an answer is told from the gold answer; reading hostile text as any type takes no time."""

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from specs_lab.core.errors import UserError
from specs_lab.rewards.grader import grade
from specs_lab.rewards.inference import ALIASES, canonical_kind, infer_kind
from specs_lab.rewards.kinds.base import KINDS, Terms

GOLDS = {
    "boolean": ["yes", "No", "TRUE", "false.", "\\text{Yes}", "**no**"],
    "integer": [
        "7",
        "-7",
        "1,234",
        "14.0",
        "1.4e1",
        "seven",
        "5 cm",
        "$5",
        "90^\\circ",
        "50%",
        "$7$",
        "x = 5",
        "\u22123",
    ],
    "number": ["0.5", "-.5", "2.5 kg", "$2.50", "12.5%", "1e-3", "3.0001"],
    "fraction": ["1/2", "\\frac{3}{4}", "\\frac34", "-3/4", "1 3/4", "$\\frac{1}{2}$", "3/4 kg"],
    "ratio": ["3:4", "3 : 4", "3 to 4", "1:2:3", "16:9", "1:100"],
    "interval": [
        *("[1, 3)", "(1, 3]", "(1, \\infty)", "(-\\infty, 2] \\cup [5, 6)", "x > 2", "1 \\le x < 3", "x \u2265 2"),
        *("x < 1 or x > 2", "x\\in[1,3)"),
    ],
    "set": [
        "{1, 2}",
        "\\{1, 2\\}",
        "$\\{1, 2\\}$",
        "\\left\\{1\\right\\}",
        "\\emptyset",
        "\\varnothing",
        "{}",
        "{a, b}",
    ],
    "matrix": ["\\begin{pmatrix}1&2\\\\3&4\\end{pmatrix}", "\\begin{bmatrix}1\\\\x\\end{bmatrix}", "[[1,2],[3,4]]"],
    "equation": ["y=2x+1", "2x+3y=6", "x^2+y^2=1", "$y = 2x$", "a+b=c", "f(x)=2x"],
    "expression": [
        *("2x+2", "2(x+1)", "\\sqrt{8}", "sqrt(8)", "x^2", "\\frac{x}{2}", "2\\pi", "\\pi", "sin(x)", "2x", "x+y"),
        *("x/2", "3a", "$x+1$", "2^{10}", "10^5", "x=\\sqrt{2}"),
    ],
    "choice": ["A", "(B)", "C.", "J", "\\boxed{D}", "**E**"],
    "list": ["1, 2", "red, blue", "(3, 4)", "[1, 2]", "a; b; c", "(1, 2), (3, 4)", "A, C", "A and C", "\\pi, 2"],
    "word": [
        *("cat", "red circle", "a", "x", "K", "AB", "ABC", "ab", "3:30", "12:05", "Paris", "left", "\\text{cat}"),
        *("x-ray", "and/or", "2nd", "COVID-19", "7 apples", "a right angle", "\u0410", "correct", "4\u200b2"),
        *("it is red, because the light that falls on it is",),
    ],
}


@pytest.mark.parametrize(("kind", "gold"), [(kind, gold) for kind, golds in GOLDS.items() for gold in golds])
def test_the_most_specific_kind_is_told_from_the_gold_answer(kind: str, gold: str):
    assert infer_kind(gold) == kind


@pytest.mark.parametrize("gold", [gold for golds in GOLDS.values() for gold in golds if "\u200b" not in gold])
def test_a_gold_answer_can_be_read_as_what_it_is_inferred_to_be(gold: str):
    assert KINDS.get(infer_kind(gold)).read_gold(gold, Terms()) is not None


@pytest.mark.parametrize(
    "kind", ["integer", "fraction", "interval", "set", "equation", "expression", "boolean", "ratio"]
)
def test_marks_of_mathematics_mode_change_no_kind(kind: str):
    bare = [gold for gold in GOLDS[kind] if "$" not in gold and not gold.startswith(("\\text", "**", "x \u2265"))]
    assert len(bare) > 2
    assert {gold: infer_kind(f"${gold}$") for gold in bare} == dict.fromkeys(bare, kind)


@pytest.mark.parametrize(
    ("gold", "choices", "kind"),
    [
        ("B", ("3", "5"), "choice"),
        ("5", ("3", "5"), "choice"),
        ("A, B", ("3", "5", "7"), "choice"),
        ("(b)", ("3", "5"), "choice"),
        ("12", ("3", "5"), "integer"),
        ("E", ("3", "5"), "choice"),
        ("yes", ("yes", "no"), "choice"),
        ("maybe", ("yes", "no"), "word"),
    ],
)
def test_with_options_the_gold_answer_is_one_of_them_if_it_can_be(gold: str, choices: tuple[str, ...], kind: str):
    assert infer_kind(gold, choices) == kind


@pytest.mark.parametrize("gold", ["[1, 2, 3, 4]", "(3, 4)", "Any sensible text. It may be long."])
def test_boxes_points_and_open_answers_are_never_inferred(gold: str):
    assert infer_kind(gold) not in ("box", "point", "open")


@pytest.mark.parametrize(
    ("gold", "near"),
    [("5!", "5"), ("5!", "5.0"), ("3!", "3"), ("H2O", "HO2"), ("H2O", "OH2"), ("x = 1, y = 2", "y = 1, x = 2")],
)
def test_a_near_miss_is_wrong_whatever_was_inferred(gold: str, near: str):
    assert grade(gold, gold).correct
    assert not grade(near, gold).correct


@pytest.mark.parametrize("gold", ["5!", "n!", "2\u03c0", "\u03c0", "\u221a2", "x\u00b2", "x\u00b2+1", "\u03c0/2"])
def test_formulas_in_other_characters_are_expressions(gold: str):
    assert infer_kind(gold) == "expression"


def test_line_ends_separate_the_elements_of_a_list():
    assert infer_kind("3\n5") == "list"


def test_every_alias_is_another_name_of_a_kind_that_exists():
    assert set(ALIASES).isdisjoint(KINDS)
    assert {canonical_kind(alias) for alias in ALIASES} <= set(KINDS)
    assert all(canonical_kind(kind) == kind for kind in KINDS)


@pytest.mark.parametrize("name", ["", "Integer", "intger", "integer "])
def test_an_unknown_kind_is_a_user_error(name: str):
    with pytest.raises(UserError, match="answer type"):
        canonical_kind(name)


@given(st.text(max_size=30))
def test_every_text_has_a_kind(gold: str):
    assert infer_kind(gold) in set(KINDS) - {"box", "point", "open"}


HOSTILE = r"""
from specs_lab.rewards.inference import infer_kind
from specs_lab.rewards.kinds.base import KINDS, Terms

GOLDS = {
    "choice": "B", "word": "cat", "boolean": "yes", "list": "1, 2", "set": "{1, 2}", "integer": "7", "number": "7.5",
    "fraction": "3/4", "ratio": "3:4", "interval": "[1, 3)", "expression": "x+1", "equation": "y=x",
    "matrix": "[[1,2]]", "box": "[1,2,3,4]", "point": "(1, 2)", "open": "x",
}
assert set(GOLDS) == set(KINDS)
PIECES = [
    " ", "\n", " \t", "1", "1,", "1,111", "1 ", "1/", "1:", "1 to ", "0.1 ", "1e9", "1e", "A", "A ", "A, ", "A and ",
    "(A)", "A)", "a. ", "and ", " and", " or ", " , ", " & ", ",", "yes ", "yes,", "x=", "x<", "a_{", "f(x)", "\\text{",
    "\\boxed{", "{", "}", "\\{", "[", "[1,", "]]", "(", "$", "\\$", "-", "^{", "\\frac", "\\frac{1}", "\\left", "\\cup",
    "\u222a", "m/", "m*", " per ", "twenty ", "\"", "{\"a\":", "\\\\", "&1", "\\begin{pmatrix}", "|", "`", "*",
    "\u0301", "\u200b", "\u00b0",
]
NESTED = ["\\text{" * depth + "7" + "}" * depth for depth in (100, 2500)]
for name, gold in GOLDS.items():
    rules = KINDS.get(name)
    form = rules.read_gold(gold, Terms())
    for length in (400, 1000, 2000, 20000):
        for head in ("", "1", "["):
            for piece in PIECES:
                text = (head + piece * (length // len(piece)))[: length - 1] + "2"
                rules.read(text, form, Terms())
    for text in NESTED * 40:
        rules.read(text, form, Terms())
for piece in PIECES:
    for head in ("", "{}", "["):
        infer_kind((head + piece * 1000)[:2000] + "x")
print("done")
"""


def test_no_text_takes_long_to_be_read_as_any_kind():
    """Near every limit of length; a regular expression that backtracks would take minutes."""
    done = subprocess.run([sys.executable, "-c", HOSTILE], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout == "done\n", done.stderr
