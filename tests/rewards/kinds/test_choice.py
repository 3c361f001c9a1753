"""Options by letter or by text: one, or a set of them; whoever names another one as well is wrong."""

import string

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from specs_lab.core.errors import UserError
from specs_lab.rewards.grader import grade
from specs_lab.rewards.kinds.base import KINDS, Terms

NUMBERS = ("3", "5", "7", "9")
SHAPES = ("scalene", "right", "isosceles", "A cat")
POINTS = ("P", "Q", "R", "S")
LETTERS = st.sets(st.sampled_from("ABCDE"), min_size=1)


def letters(text: str, choices: tuple[str, ...] = ()) -> str | None:
    found = KINDS.get("choice").read_gold(text, Terms(choices=choices))
    return None if found is None else "".join(sorted(found))


@pytest.mark.parametrize(
    "text",
    [
        *("B", "b", "(B)", "(b)", "B.", "B)", "B:", "b)", "B. 5", "B) 5", "(B) 5", "B: right", "B right", "B, "),
        *("B!", "Option B", "option (b)", "Choice B", "Options B", "Answer B", "OPTION B."),
        *("option B: right", "\uff22", "\uff08B\uff09", "\\boxed{B}", "\\text{(B)}", "\\textbf{B}", "$B$"),
        *("\\(B\\)", "\\mathrm{B}", "**B**", "**B.** 5", "**B**. 5", "`B`", '"B"', "'B'", " \u200bB\n"),
        *("B. Vitamin C", "B. 5 and 7", "\\textbf{(B) }5", "B.\n5", "B.5", "$\\boxed{\\text{(B)}}$"),
    ],
)
def test_a_letter_is_read_in_any_spelling(text: str):
    assert letters(text) == "B"


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", ".", "()", "5", "BB", "bb", "Bee", "B2", "\u0412", "\u0392", "\u212c", "B\u200b.", "B\u202e"),
        *("cab", "ab", "a right angle", "a cat", "I am sure", "A cat", "the B", "not B", "neither B nor C"),
        *("maybe B", "5 B", "Optional", "B or C", "either B or C", "B. or C.", "B. C", "(B) or (C)"),
        *("B) up C) down", "B up C right", "A:B", "B: C", "B.C", "e.g. this", "i.e. B", "A. B", "Option B or C"),
        *("It could be B, C, or D",),
    ],
)
def test_what_names_no_option_or_several_at_choice_is_none(text: str):
    assert letters(text) is None


@pytest.mark.parametrize(
    "text", ["B or c", "B or b", "B, or maybe c", "B is wrong", "B is not right", "B isn't it", "B? No"]
)
def test_a_letter_that_is_doubted_or_denied_is_none(text: str):
    assert letters(text) is None


@pytest.mark.parametrize(
    ("text", "named"),
    [
        *(("A, C", "AC"), ("AC", "AC"), ("A and C", "AC"), ("c, a", "AC"), ("A & C", "AC"), ("A/C", "AC")),
        *(("A C", "AC"), ("A (C)", "AC"), ("(A)(C)", "AC"), ("(A), (C)", "AC"), ("A; C; E", "ACE")),
        *(("A, C, and E", "ACE"), ("\\boxed{A, C}", "AC"), ("Options A and C", "AC"), ("ABCDE", "ABCDE")),
        *(("A, C.", "AC"), ("**A, C**", "AC"), ("A,C", "AC")),
    ],
)
def test_several_letters_are_a_set(text: str, named: str):
    assert letters(text) == named


@pytest.mark.parametrize("text", ["A, A", "AA", "A and A", "ABA", "ac", "A, C or E", "A, cat", "A and cat"])
def test_a_repeated_letter_or_a_word_among_letters_is_none(text: str):
    assert letters(text) is None


@given(LETTERS, LETTERS, st.data())
def test_sets_of_letters_are_equal_if_their_letters_are(given_letters: set[str], gold_letters: set[str], data):
    def written(named: set[str]) -> str:
        order = data.draw(st.permutations(sorted(named)))
        separator = data.draw(st.sampled_from([", ", " and ", "/", " ", ";", "", " & "]))
        form = data.draw(st.sampled_from(["{}", "({})"] if separator == "" else ["{}", "({})", "{0.lower}"]))
        shown = [letter.lower() if "lower" in form else form.format(letter) for letter in order]
        return data.draw(st.sampled_from(["{}", "{}.", "${}$", "\\text{{{}}}"])).format(separator.join(shown))

    verdict = grade(written(given_letters), written(gold_letters), "choice")
    assert verdict.correct == (given_letters == gold_letters)


@given(st.sampled_from(string.ascii_letters), st.sampled_from(string.ascii_uppercase))
def test_a_letter_is_right_in_either_case_and_no_other_is(given_letter: str, gold: str):
    assert grade(given_letter, gold, "choice").correct == (given_letter.upper() == gold)


@pytest.mark.parametrize(
    ("text", "choices", "named"),
    [
        ("5", NUMBERS, "B"),
        ("$5$", NUMBERS, "B"),
        ("\\boxed{5}", NUMBERS, "B"),
        ("5.", NUMBERS, "B"),
        ("B. 5", NUMBERS, "B"),
        ("(b) 5", NUMBERS, "B"),
        ("B 5", NUMBERS, "B"),
        ("Isosceles", SHAPES, "C"),
        ("**C. isosceles**", SHAPES, "C"),
        ("a cat", SHAPES, "D"),
        ("D. A cat", SHAPES, "D"),
        ("right", SHAPES, "B"),
        ("A scalene", SHAPES, "A"),
        ("A, D", NUMBERS, "AD"),
        ("B. something else", NUMBERS, "B"),
        ("yes", ("yes", "no"), "A"),
    ],
)
def test_an_option_is_named_by_its_text(text: str, choices: tuple[str, ...], named: str):
    assert letters(text, choices) == named


@pytest.mark.parametrize(
    ("text", "choices"),
    [
        ("B. 7", NUMBERS),
        ("(A) isosceles", SHAPES),
        ("B 7", NUMBERS),
        ("E", NUMBERS),
        ("A, E", NUMBERS),
        ("E. 5", NUMBERS),
        ("4", NUMBERS),
        ("5.0", NUMBERS),
        ("3 or 5", NUMBERS),
        ("not 5", NUMBERS),
        ("B or 7", NUMBERS),
        ("isosceles right", SHAPES),
        ("5", ("5", "5", "7")),
        ("A cat", NUMBERS),
        ("", ("", "5")),
    ],
)
def test_what_contradicts_itself_or_names_no_option_is_none(text: str, choices: tuple[str, ...]):
    assert letters(text, choices) is None


@pytest.mark.parametrize(
    ("text", "choices", "named"),
    [
        ("Q", POINTS, "B"),
        ("B. Q", POINTS, "B"),
        ("(B) Q", POINTS, "B"),
        ("B. R", POINTS, None),
        ("B", ("B", "A"), "B"),
        ("A", ("B", "A"), "A"),
        ("A. B", ("B", "A"), "A"),
        ("A. A", ("B", "A"), None),
        ("D. A and B", ("x", "y", "z", "A and B"), "D"),
        ("A and B", ("x", "y", "z", "A and B"), "D"),
        ("C. Both A and B", ("x", "y", "Both A and B"), "C"),
    ],
)
def test_options_whose_texts_are_letters(text: str, choices: tuple[str, ...], named: str | None):
    """A letter alone is a label if there is such a label; behind a label, the text of that option."""
    assert letters(text, choices) == named


@given(st.lists(st.text("abcxyz 0123456789", min_size=1, max_size=5), min_size=2, max_size=6, unique=True), st.data())
def test_label_text_and_both_name_the_same_option(texts: list[str], data):
    folded = [" ".join(text.split()) for text in texts]
    assume(len(set(folded)) == len(folded))
    assume(all(len(text) > 1 or text.isdigit() for text in folded))
    assume(not any(letters(text) for text in folded))  # "a b" names two options
    index = data.draw(st.integers(0, len(texts) - 1))
    other = data.draw(st.integers(0, len(texts) - 1))
    gold, label = string.ascii_uppercase[index], string.ascii_uppercase[other]
    for answer in (label, f"({label})", folded[other], f"{label}. {folded[other]}"):
        assert grade(answer, gold, choices=texts).correct == (index == other)
    assert grade(f"{label}. {folded[index]}", gold, choices=texts).correct == (index == other)


@pytest.mark.parametrize(
    ("gold", "choices"), [("5", NUMBERS), ("B", NUMBERS), ("(b)", NUMBERS), ("B. 5", NUMBERS), ("Q", POINTS)]
)
def test_the_gold_answer_may_be_a_label_or_a_text(gold: str, choices: tuple[str, ...]):
    assert grade("B", gold, "choice", choices=choices).correct
    assert not grade("C", gold, "choice", choices=choices).correct


@pytest.mark.parametrize("gold", ["", "5", "red", "Z9", "B. 7", "E"])
def test_a_gold_answer_that_names_no_option_is_a_data_error(gold: str):
    with pytest.raises(UserError, match="type 'choice' among the 4 choices"):
        grade("B", gold, "choice", choices=["3", "4", "7", "9"])


def test_the_reason_names_both():
    assert grade("C, A", "b", "choice").reason == "A, C is not B"
