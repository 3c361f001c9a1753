"""Words are equal up to case, white space and an article; yes and no have a few names; open answers need a judge."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from specs_lab.core.errors import UserError
from specs_lab.rewards.grader import grade
from specs_lab.rewards.judge import Judged
from specs_lab.rewards.kinds.base import KINDS, ForJudge, Terms


def word(text: str) -> str | None:
    return KINDS.get("word").read_gold(text, Terms())


def truth(text: str) -> str | None:
    return KINDS.get("boolean").read_gold(text, Terms())


@pytest.mark.parametrize(
    "text",
    [
        *("red circle", "Red Circle", "RED  CIRCLE.", " red\ncircle ", "the red circle", "A red circle"),
        *("an red circle", "red\u00a0circle", "**red circle**", "`red circle`", '"Red circle."', "'red circle'!"),
        *("\\text{red circle}", "\\boxed{\\text{red circle}}", "$\\text{red circle}$", "red circle,"),
        *("red circle;", "\u201cred circle\u201d", "\uff32ed circle", "\u200bred circle\u200b"),
    ],
)
def test_case_space_article_and_decoration_do_not_matter(text: str):
    assert word(text) == "red circle"


@pytest.mark.parametrize(
    ("text", "gold"),
    [
        *(("act", "cat"), ("felt", "left"), ("BA", "AB"), ("circle red", "red circle"), ("red", "red circle")),
        *(("cats", "cat"), ("red or blue", "red"), ("red, blue", "red"), ("redcircle", "red circle")),
        *(("re d", "red"), ("red-ish", "red"), ("the the cat", "cat"), ("some cat", "cat"), ("acat", "cat")),
        *(("an", "n"), ("\u0441at", "cat"), ("c\u200bat", "cat"), ("\u202ecat", "cat"), ("cafe", "caf\u00e9")),
        *(("x\u00b2", "x2"), ("\u0663", "3"), ("-5", "5"), ("not red", "red"), ("C++", "C"), ("C", "C#")),
        *(("3:30", "3:03"), ("3.30", "3:30"), ("<b>red</b>", "red"), ("r\x00ed", "red"), ("\u212aelvin", "kelvin")),
        *(("\u017fun", "sun"), ("\ufb01g", "fig"), ("yes\u037e", "yes")),
    ],
)
def test_anything_else_does(text: str, gold: str):
    assert not grade(text, gold, "word").correct
    assert word(text) != word(gold)


@pytest.mark.parametrize("text", ["a", "A.", "the", "an", "The"])
def test_an_article_alone_is_a_word(text: str):
    assert word(text) == text.strip(".").lower()


@pytest.mark.parametrize("text", ["", " \n", "\u200b", "...", "$$", "''", "\\text{}", "c\u200bt", "\u2066cat"])
def test_what_shows_nothing_or_hides_something_is_no_word(text: str):
    assert word(text) is None
    with pytest.raises(UserError, match="gold answer"):
        grade("cat", text, "word")


def test_two_encodings_of_an_accent_are_one_letter():
    composed = "\u00c9clair"
    assert word(unicodedata.normalize("NFD", composed)) == word(composed) == "\u00e9clair"


@given(st.text("aAbB the\n", max_size=9), st.text("aAbB the\n", max_size=9))
def test_words_are_equal_as_a_naive_reader_says(first: str, second: str):
    def naive(text: str) -> list[str]:
        parts = text.lower().split()
        return parts[1:] if len(parts) > 1 and parts[0] in ("a", "an", "the") else parts

    given_word, gold = word(first), word(second)
    assert (given_word or "").split() == naive(first)
    assert (given_word == gold) == (naive(first) == naive(second))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        *(("yes", "yes"), ("YES.", "yes"), ("True", "yes"), ("correct", "yes"), ("no", "no"), ("No!", "no")),
        *(("FALSE", "no"), ("incorrect", "no"), ("**Yes**", "yes"), ("\\text{No}", "no")),
        *(("$\\boxed{\\text{Yes}}$", "yes"), ("\uff39es", "yes"), ("Yes, because it is red", "yes")),
        *(("No. It is blue.", "no"), ("yes: it is", "yes"), ("no; blue", "no"), ("Yes - it is", "yes")),
        *(("Yes \u2014 it is", "yes"), ("no\u2013blue", "no"), ("Yes, it is correct", "yes"), ("No, false", "no")),
        *(("Yes,\nit is", "yes"), ("yes!!", "yes"), ("\u200bno", "no")),
    ],
)
def test_yes_and_no_have_a_few_names_and_may_be_explained(text: str, said: str):
    assert truth(text) == said


@pytest.mark.parametrize(
    "text",
    [
        *("", "maybe", "1", "0", "y", "n", "t", "yes and no", "yes or no", "Yes, no", "no, yes", "Yes, and No."),
        *("true, false", "Yes. Or is it false?", "yes it is", "not true", "yesterday", "nothing", "noes", "yesno"),
        *("yes\u200bno", "\u202eyes", "correct/incorrect", "\u0443es", "is it yes", "the answer, yes"),
        *("yes because", "trueish", "no,no,yes"),
    ],
)
def test_what_is_neither_or_both_is_none(text: str):
    assert truth(text) is None


@pytest.mark.parametrize("text", ["No-one", "no-brainer: it is red", "yes-man", "True-false"])
def test_a_compound_word_is_neither(text: str):
    assert truth(text) is None


@pytest.mark.parametrize("gold", ["maybe", "", "1", "yes and no"])
def test_a_gold_answer_that_is_neither_is_a_data_error(gold: str):
    with pytest.raises(UserError, match="type 'boolean'"):
        grade("yes", gold, "boolean")


@pytest.mark.parametrize(
    ("text", "gold", "equal"), [("true", "yes", True), ("no", "false", True), ("no", "yes", False)]
)
def test_truths_are_equal_by_what_they_say(text: str, gold: str, equal: bool):
    assert grade(text, gold, "boolean").correct is equal
    assert grade(text, gold).correct is equal


def test_open_answers_are_left_to_a_judge_as_they_are():
    rules = KINDS.get("open")
    assert rules.read_gold(" It is  Red!\u200b ", Terms()) == "It is  Red!"
    assert rules.compare("red", "Red!", Terms()) == ForJudge("red", "Red!")
    assert rules.read_gold(" \u200b", Terms()) is None


def test_an_open_answer_is_worth_what_the_judge_says():
    class Halves:
        threshold = 0.5

        def __call__(self, asked: list[Judged]) -> list[float]:
            return [0.5 if one.answer == "red" else 0.4 for one in asked]

    verdicts = [grade(text, "Red!", "open", judge=Halves()) for text in ("red", "blue")]
    assert [(verdict.correct, verdict.score) for verdict in verdicts] == [(True, 0.5), (False, 0.4)]
    with pytest.raises(UserError, match="judge"):
        grade("red", "Red!", "open")
    with pytest.raises(UserError, match="gold answer"):
        grade("red", " ", "open", judge=Halves())
