"""The benchmark of grading: what it counts and how it asks, without the measuring."""

import pytest

from benchmarks.grading import marked, tally
from benchmarks.grading_cases import Case, load_cases, read, types
from benchmarks.grading_speed import KINDS, math_verify, texts
from benchmarks.limited import Limited


def case(correct: bool) -> Case:
    return Case(type="word", line=1, prediction="a", gold="b", kind=None, correct=correct, why="")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (" cat ", "cat"),
        ("<answer>3</answer> no, <answer> 7 </answer>", "7"),
        (r"\boxed{3}, or rather \boxed{\frac{3}{\sqrt{4}}}.", r"\frac{3}{\sqrt{4}}"),
        (r"<think>\boxed{3}</think><answer>so \boxed{7}</answer>", "7"),
        (r"\boxed{", r"\boxed{"),
    ],
)
def test_the_simple_extraction_takes_the_last_tag_and_the_last_box_in_it(text, expected):
    assert marked(text) == expected


def test_no_verdict_rejects():
    cases = [case(True), case(True), case(False), case(False), case(True)]
    expected = {"false_accepts": 1, "false_rejects": 2, "none": 2}
    assert tally(cases, [True, None, True, None, False]) == expected


def test_cases_know_where_they_stand_and_what_they_declare(tmp_path):
    row = '{"prediction": null, "gold": "B", "kind": null, "choices": ["x", "y"], "correct": false, "why": "nothing"}\n'
    (tmp_path / "choice.jsonl").write_text(row * 2)
    last = read(tmp_path / "choice.jsonl")[-1]
    assert (last.name, last.options) == ("choice.jsonl:2", {"choices": ("x", "y")})
    assert types(tmp_path) == ["choice"]
    assert len(load_cases(folder=tmp_path)) == len(load_cases(["choice"], tmp_path)) == 2


def test_a_case_with_an_unknown_field_is_refused(tmp_path):
    path = tmp_path / "word.jsonl"
    path.write_text('{"prediction": "a", "gold": "a", "kind": null, "correct": true, "why": "x", "colour": "red"}\n')
    with pytest.raises(TypeError, match="colour"):
        read(path)


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_texts_are_new_with_every_seed_and_right_half_the_time(kind, whole):
    given = texts(kind, whole, 20, seed=0)
    assert sum(text.correct for text in given) == 10
    assert given == texts(kind, whole, 20, seed=0) != texts(kind, whole, 20, seed=1)
    assert all((250 < len(text.prediction) < 350) == whole for text in given)


def test_math_verify_is_called_so_that_it_gets_what_is_timed_right():
    for kind in KINDS:
        for whole in (True, False):
            given = texts(kind, whole, 4, seed=0)
            assert math_verify(kind, given) == [text.correct for text in given], (kind, whole)


def test_a_question_that_takes_too_long_has_no_answer_and_the_next_one_has():
    with Limited(limit=2.0) as asked:
        assert asked.ask(("$7$", "$9^{9^{9^{9^{9}}}}$", False)) is None
        assert asked.ask(("$7$", "$7$", False)) is True
        assert asked.ask(("B", "C", True)) is False
