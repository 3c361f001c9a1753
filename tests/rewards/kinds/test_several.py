"""Lists are compared in order, sets in any; elements as numbers, words or expressions, whichever they are."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from specs_lab.core.errors import UserError
from specs_lab.rewards.grader import grade
from specs_lab.rewards.kinds.base import KINDS, Terms


def words(text: str, kind: str = "list") -> list[str] | None:
    found = KINDS.get(kind).read_gold(text, Terms())
    return None if found is None else [element.word for element in found]


@pytest.mark.parametrize("kind", ["list", "set"])
@pytest.mark.parametrize(
    "text",
    [
        *("1, 2, 3", "1,2,3", "1; 2; 3", "1\n2\n3", "1, 2 and 3", "1, 2, and 3", "1 and 2 and 3", "1, 2 & 3"),
        *("1,\n2,\n3", "(1, 2, 3)", "[1, 2, 3]", "{1, 2, 3}", "\\{1, 2, 3\\}", "\\left\\{1, 2, 3\\right\\}"),
        *("$\\{1, 2, 3\\}$", "\\(1, 2, 3\\)", "**1, 2, 3**", "1, 2, 3.", "`1, 2, 3`", "\\text{1, 2, 3}"),
        *("\\text{1}, \\text{2}, \\text{3}", "x = 1, y = 2, z = 3", "x_1 = 1, x_2=2, x_{12} = 3"),
        *("\uff11\uff0c2, 3", "  1 ,  2 , 3 ", "$1$, $2$, $3$"),
    ],
)
def test_elements_are_separated_in_any_usual_way(text: str, kind: str):
    assert words(text, kind) == ["1", "2", "3"]


@pytest.mark.parametrize("kind", ["list", "set"])
@pytest.mark.parametrize(
    "text",
    [
        *("", " ", ",", "1,,2", ", 1", ";", "(1, 2", "1, 2)", ")1, 2(", "1, \u200b2", "\u202e1, 2", "()", "[]"),
        *("{,}", ", ".join("1" * 33), "1, " + "2" * 1000),
    ],
)
def test_what_lacks_an_element_or_a_bracket_is_none(text: str, kind: str):
    assert words(text, kind) is None


def test_the_greatest_number_of_elements_is_read():
    assert words(", ".join("1" * 32)) == ["1"] * 32


@pytest.mark.parametrize(
    "text", ["{}", "\\{\\}", "\\{ \\}", "\\emptyset", "\\varnothing", "\u2205", "$\\emptyset$", "\\left\\{\\right\\}"]
)
def test_a_set_may_be_empty_but_a_list_may_not(text: str):
    assert words(text, "set") == []
    assert words(text, "list") is None
    assert grade(text, "\\emptyset", "set").correct
    assert not grade(text, "{0}", "set").correct
    assert not grade("0", text, "set").correct
    assert not grade("1, 2", text, "set").correct


@pytest.mark.parametrize(
    ("text", "elements"),
    [
        ("(1, 2), (3, 4)", ["(1, 2)", "(3, 4)"]),
        ("[(1, 2), (3, 4)]", ["(1, 2)", "(3, 4)"]),
        ("f(1, 2), 3", ["f(1, 2)", "3"]),
        ("{1}, {2}", ["{1}", "{2}"]),
        ("\\frac{1}{2}, 3", ["\\frac{1}{2}", "3"]),
        ("red circle, the Blue square", ["red circle", "blue square"]),
        ("1, 2 or 3", ["1", "2 or 3"]),
        ("sandy, candor", ["sandy", "candor"]),
    ],
)
def test_separators_within_brackets_or_words_do_not_count(text: str, elements: list[str]):
    assert [word.replace(", ", ",") for word in words(text) or ()] == [word.replace(", ", ",") for word in elements]


@pytest.mark.parametrize(
    ("text", "gold", "correct"),
    [
        ("1, 2", "1, 2", True),
        ("1.0, 4/2", "1, 2", True),
        ("2, 1", "1, 2", False),
        ("1", "1, 2", False),
        ("1, 2, 2", "1, 2", False),
        ("1, 2, 3", "1, 2", False),
        ("12", "1, 2", False),
        ("1 2", "1, 2", False),
        ("1 or 2", "1, 2", False),
        ("1, -2", "1, 2", False),
        ("0.5, \\frac14", "1/2, 0.25", True),
        ("Red, the blue", "red, blue", True),
        ("blue, red", "red, blue", False),
        ("red", "red, blue", False),
        ("BA, C", "AB, C", False),
        ("ab, c", "AB, c", True),
        ("\\sqrt{8}, 1+x", "2\\sqrt{2}, x+1", True),
        ("1+x, \\sqrt{8}", "2\\sqrt{2}, x+1", False),
        ("2.828, x+1", "2\\sqrt{2}, x+1", False),
        ("x = 1, y = 2", "1, 2", True),
        ("1, 2", "x = 1, y = 2", True),
        ("x = 1, y = 2", "x = 1, y = 2", True),
        ("x = 2, y = 1", "x = 1, y = 2", False),
        ("y = 1, x = 2", "x = 1, y = 2", False),
        ("5x = 3, 1", "53, 1", False),
        ("24, 3", "2x = 4, 3", False),
        ("acd, ef", "AB = CD, EF", False),
        ("(1,2), (3,4)", "(1, 2), (3, 4)", True),
        ("(1, 2), (4, 3)", "(1, 2), (3, 4)", False),
        ("(2, 1), (3, 4)", "(1, 2), (3, 4)", False),
        ("1, 2, 3, 4", "(1, 2), (3, 4)", False),
        ("50 mm, 6 cm", "5 cm, 6 cm", True),
        ("5 kg, 6 cm", "5 cm, 6 cm", False),
        ("90\u00b0, 45\u00b0", "90, 45", True),
        ("90, 45", "90\u00b0, 45\u00b0", True),
        ("45\u00b0, 90\u00b0", "90, 45", False),
    ],
)
def test_a_list_is_right_if_each_element_is(text: str, gold: str, correct: bool):
    assert grade(text, gold, "list").correct is correct


@pytest.mark.parametrize(
    ("text", "gold", "correct"),
    [
        ("{2, 1}", "{1, 2}", True),
        ("2, 1", "{1, 2}", True),
        ("1 or 2", "{1, 2}", True),
        ("x = 2 or x = 1", "{1, 2}", True),
        ("{1, 1, 2, 1.0}", "{1, 2}", True),
        ("{1, 2}", "{1, 1, 2}", True),
        ("{1}", "{1, 2}", False),
        ("{1, 2, 3}", "{1, 2}", False),
        ("{1, 3}", "{1, 2}", False),
        ("{12}", "{1, 2}", False),
        ("{}", "{1, 2}", False),
        ("{0.5, 1/4}", "{\\frac14, \\frac12}", True),
        ("blue, Red", "{red, blue}", True),
        ("BA", "{AB}", False),
        ("{x, y}", "{y, x}", True),
        ("{X, y}", "{y, x}", False),
        ("{\\sqrt{8}, 1}", "{1, 2\\sqrt{2}}", True),
        ("{\\sqrt{8}, 2\\sqrt{2}, 1}", "{1, 2\\sqrt{2}}", True),
        ("{\\sqrt{7}, 1}", "{1, 2\\sqrt{2}}", False),
        ("{\\sqrt{8}}", "{1, 2\\sqrt{2}}", False),
        ("{x+1, 1+x}", "{x+1, x+2}", False),
        ("{x = 1, y = 2}", "{y = 1, x = 2}", False),
    ],
)
def test_a_set_is_right_if_it_has_the_same_elements(text: str, gold: str, correct: bool):
    assert grade(text, gold, "set").correct is correct


@pytest.mark.parametrize(
    "gold",
    [
        "{x, x+1, x+2, x+3, x+4, x+5, x+6}",
        "{1, 2, 3, 4, 5, 6, \\sqrt{2}}",
        "{\\pi, 2\\pi, 3\\pi, 4\\pi, 5\\pi, 6\\pi, 7\\pi, 8\\pi}",
    ],
)
def test_a_large_set_of_expressions_equals_itself(gold: str):
    backwards = ", ".join(reversed(gold[1:-1].split(", ")))
    assert grade(gold, gold).correct
    assert grade(backwards, gold).correct
    assert not grade(backwards.rpartition(", ")[0], gold).correct


NUMBERS = st.lists(st.fractions(min_value=-3, max_value=3, max_denominator=2), min_size=1, max_size=5)


@given(NUMBERS, NUMBERS, st.data())
def test_lists_and_sets_of_numbers_are_compared_as_python_compares_them(
    first: list[Fraction], second: list[Fraction], data
):
    def written(numbers: list[Fraction]) -> str:
        forms = [
            data.draw(
                st.sampled_from(
                    [f"{number}", f"{float(number)}", f"\\frac{{{number.numerator}}}{{{number.denominator}}}"]
                )
            )
            for number in numbers
        ]
        around = data.draw(st.sampled_from(["{}", "({})", "[{}]", "\\{{{}\\}}", "${}$"]))
        return around.format(data.draw(st.sampled_from([", ", ";", " , ", " and "])).join(forms))

    given_text, gold = written(first), written(second)
    assert grade(given_text, gold, "list").correct == (first == second)
    assert grade(given_text, gold, "set").correct == (set(first) == set(second))


@given(st.lists(st.sampled_from(["cat", "dog", "red fox", "AB"]), min_size=1, max_size=4), st.data())
def test_lists_and_sets_of_words_too(gold: list[str], data):
    given_words = data.draw(st.permutations(gold))
    text = ", ".join(word.upper() for word in given_words)
    assert grade(text, ", ".join(gold), "list").correct == (given_words == gold)
    assert grade(text, ", ".join(gold), "set").correct
    assert not grade(f"{text}, bird", ", ".join(gold), "set").correct


@pytest.mark.parametrize(
    ("gold", "kind"), [("", "list"), ("{}", "list"), ("1,,2", "list"), ("(1", "set"), ("1, \u200b2", "set")]
)
def test_a_gold_answer_that_is_none_is_a_data_error(gold: str, kind: str):
    with pytest.raises(UserError, match=f"type '{kind}'"):
        grade("1, 2", gold, kind)


def test_reasons_show_both_or_count():
    assert grade("1, 3", "1, 2", "list").reason == "1, 3 is not 1, 2"
    assert grade("1", "1, 2", "list").reason == "1 elements, not 2"
