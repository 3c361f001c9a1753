"""Extraction finds the final answer in any form, and nothing where none is stated."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from specs_lab.rewards.extraction import SEARCHED, answer_in, extract, find


@pytest.mark.parametrize(
    ("response", "answer"),
    [
        ("<answer> 3 </answer> wait <answer> 7 </answer>", "7"),
        ("<answer> 7 </answer> </answer>", "7"),
        ("<answer> 7 </answer> <answer> 8", "7"),
        ("<think> \\boxed{3} #### 4 </think> <answer> 7 </answer>", "7"),
        ("<final> 3 </final> <answer> 7 </answer>", "7"),
        ("\\boxed{3} <final> 7 </final>", "7"),
        ("\\boxed{3} then \\boxed{\\frac{1}{2}}", "\\frac{1}{2}"),
        ("\\boxed{a\\}b}", "a\\}b"),
        ("\\boxed{7} and \\boxed{8", "7"),
        ("{ \\boxed{7} }", "7"),
        ("\\boxed{\\boxed{7}}", "7"),
        ("#### 3\n#### 7\nbye", "7"),
        ("The answer is 3. No, the answer is 7.", "7"),
        ("The answer is 7.5. I hope this helps.", "7.5"),
        ("The final answer is: 7", "7"),
        ("ANSWER: 7", "7"),
        ("Answer:\n7\n", "7"),
        ("**Answer:** 7", "7"),
        ("answer = 7", "7"),
        ("<answer> The answer is \\boxed{7}. </answer>", "7"),
        ("<answer> \\boxed{<final> 7 </final>} </answer>", "7"),
        ("<think> <answer> 3 </answer> </think> The answer is 7.", "7"),
        ("<think> it is <answer> 7 </answer> </think> I hope this helps.", "7"),
        ("<think> 3+4 </think> 7", "7"),
        ("<steps> 3+4 </steps> 7", "7"),
        ("<think> a </think> b </think> c", "c"),
    ],
)
def test_the_last_statement_of_the_strongest_form_counts(response: str, answer: str):
    assert extract(response) == answer


@pytest.mark.parametrize(
    "response",
    [
        "",
        "I do not know",
        "<think> 3+4=7",
        "<think> 3+4=7 </think>",
        "<think> 3+4=7 </think> <answer> 7",
        "<answer> </answer>",
        "\\boxed{7",
        "Answer:",
        "my answer",
        "####",
        "answers: 7 8",
    ],
)
def test_nothing_stated_is_nothing_found(response: str):
    assert extract(response) is None


@given(st.text(alphabet="<>/answerfinal think#\\boxed{}.:7 \n", max_size=80))
def test_what_is_found_is_part_of_the_response_and_not_blank(response: str):
    found = find(response)
    if found is not None:
        assert found.answer
        assert found.answer == found.answer.strip()
        assert found.answer in response[found.start :]


PIECES = [
    "<answer>",
    "</answer>",
    "<final>",
    "</final>",
    "<think>",
    "</think>",
    "\\boxed{",
    "}",
    "####",
    "answer is ",
    "7",
    " ",
    "\n",
    ".",
    "x",
]


@given(st.lists(st.sampled_from(PIECES), max_size=14).map("".join))
def test_extraction_is_idempotent(response: str):
    answer = extract(response)
    if answer is not None:
        assert extract(answer) is None
        assert answer_in(answer) in (answer, None)


def test_only_the_end_of_a_very_long_response_is_searched():
    padding = "so " * SEARCHED
    late = find(f"<answer> 3 </answer> {padding} <answer> 7 </answer>")
    assert late is not None
    assert (late.answer, late.start) == ("7", len(f"<answer> 3 </answer> {padding} "))
    assert extract(f"<answer> 7 </answer> {padding}") is None


@pytest.mark.parametrize(
    ("prediction", "answer"),
    [
        ("7", "7"),
        (" 7 \n", "7"),
        ("x < 7 and y > 2", "x < 7 and y > 2"),
        ("7\n8", None),
        ("<think> 7", None),
        ("", None),
        ("\u200b", None),
        ("7" * (SEARCHED + 1), None),
    ],
)
def test_a_line_without_tags_is_the_answer_itself(prediction: str, answer: str | None):
    assert answer_in(prediction) == answer


@pytest.mark.parametrize(
    ("response", "format", "answer"),
    [
        ("<think> a </think> <answer> 7 </answer>", "think_answer", "7"),
        ("<think> a </think> The answer is 7.", "think_answer", None),
        ("7", "think_answer", None),
        ("<think> a </think> <answer> 3 </answer> <answer> 7 </answer>", "think_answer", None),
        ("<think> <answer> 7 </answer> </think>", "think_answer", None),
        ("<steps> a </steps> <final> 7 </final>", "think_answer", None),
        ("<steps> a </steps> <final> 7 </final>", "steps_final", "7"),
        ("It is \\boxed{7}.", "boxed", "7"),
        ("The answer is 7.", "boxed", None),
    ],
)
def test_in_strict_mode_only_the_demanded_place_counts(response: str, format: str, answer: str | None):
    assert answer_in(response, format) == answer
