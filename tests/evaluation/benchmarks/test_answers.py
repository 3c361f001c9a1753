"""Where answers are looked for when they are not stated, and what is put to a judge."""

import time

import pytest

from specs_lab.evaluation.benchmarks.answers import judge_answer
from specs_lab.evaluation.judges.overlap import OverlapJudge
from specs_lab.problems.rows import ProblemRow


def row(answer, kind=None, **more):
    return ProblemRow(id="1", question="What?", answer=answer, kind=kind, **more)


OPTIONS = row("B", "choice", choices=("a cat", "a dog", "a big dog"))


@pytest.mark.parametrize(
    ("response", "right"),
    [
        ("(A) is too small. (C) is too large.\nTherefore (B) fits.", True),
        ("Option A would be small.\nOption B fits.", True),
        ("It must be B", True),
        ("B) a dog", True),
        ("It shows a dog.", True),
        ("It shows a big dog.", False),
        ("It shows a cat or a dog.", False),
        ("Either (A) or (B).", False),
        ("(B) fits. So I choose (A).", False),
        ("We know that angle B", False),
        ("Because Bob is big", False),
        ("<answer> Z </answer> (B)", False),
        ("The answer is B, I think.", True),
        ("The answer cannot be B", False),
        ("It is not option B.", False),
        ("It is not A, so it must be B", True),
        ("", False),
        ("A B C", False),
        ("(A) (B) (C)", False),
        ("<answer> A, B </answer>", False),
        ("<answer> B </answer> <answer> C </answer>", False),
        ("\\boxed{B} \\boxed{C}", False),
        ("<think> B </think>", False),
    ],
)
def test_options_are_found_in_the_last_sentence_that_names_one(response, right):
    assert judge_answer(OPTIONS, response).correct == right


@pytest.mark.parametrize(
    ("response", "right"),
    [
        ("We add them.\n3 + 4 = 7", True),
        ("So the total is $7$.", True),
        ("There are 7 of them", True),
        ("There are 7 red and 5 blue ones", False),
        ("There are 5, plus 2, which makes seven", False),
        ("x = 7 cm", True),
        ("I see 17 of them", False),
        ("About 7.5", False),
    ],
)
def test_numbers_are_found_if_there_is_only_one(response, right):
    assert judge_answer(row("7", "integer"), response).correct == right


def test_a_number_of_something_else_is_no_answer():
    length = row("7", "number", unit="cm")
    assert judge_answer(length, "It is 70 mm long").correct
    assert not judge_answer(length, "It weighs 7 kg now").correct
    assert judge_answer(row("7", "integer", unit="cm^2"), "The area is 7 cm^2.").correct
    assert judge_answer(row("7", "integer", unit="years old"), "She is 7 years old.").correct


def test_a_very_long_response_is_searched_at_its_end():
    assert judge_answer(row("7", "integer"), "5 " * 200_000 + "\nThe answer is 7").correct
    assert not judge_answer(row("7", "integer"), "<answer>" + "7" * 30_000 + "</answer>").correct


@pytest.mark.parametrize("bit", ["a.\n", "(A)", "= ", "$", "1,111", "[", "is ", "answer is ", "<answer>", "\\boxed{"])
def test_time_is_bounded_whatever_a_response_consists_of(bit):
    for wanted in (OPTIONS, row("7", "integer"), row("\\frac{1}{2}"), row("[1, 2]", "list")):
        began = time.perf_counter()
        assert not judge_answer(wanted, bit * (150_000 // len(bit)) + "\nq q").correct
        assert time.perf_counter() - began < 20  # a hang; it takes milliseconds


def test_a_judge_is_asked_about_words_and_formulas_but_not_about_letters_and_numbers():
    asked = []

    def judge(answers):
        asked.extend(answers)
        return [1.0] * len(answers)

    assert judge_answer(row("a red car", "word"), "<answer> car, red </answer>", judge).correct
    assert judge_answer(row("it flies", "open"), "<answer> flying </answer>", judge).score == 1.0
    assert not judge_answer(row("7", "integer"), "<answer> 8 </answer>", judge).correct
    assert not judge_answer(OPTIONS, "<answer> A </answer>", judge).correct
    assert [(one.answer, one.gold, one.question) for one in asked] == [
        ("car, red", "a red car", "What?"),
        ("flying", "it flies", "What?"),
    ]


def test_a_real_judge_can_be_plugged_in():
    judge = OverlapJudge(threshold=0.6).make()
    assert judge_answer(row("a red car", "open"), "<answer> the red car </answer>", judge).correct
    assert not judge_answer(row("a red car", "open"), "<answer> a ship </answer>", judge).correct
    assert not judge_answer(row("a red car", "open"), "<answer> the red car </answer>", None).correct


def test_an_option_of_the_same_text_counts():
    twice = row("A", "choice", choices=("5", "5", "6"))
    assert judge_answer(twice, "<answer> B </answer>").correct
    assert not judge_answer(twice, "<answer> C </answer>").correct
