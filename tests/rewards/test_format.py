"""The format reward: exactly the requested form, nothing that merely resembles it."""

import re
import subprocess
import sys
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from specs_lab.pretraining.corpus import POLLUTED_STYLES, alternative_style, target_style
from specs_lab.problems.instructions import INSTRUCTIONS, FormatName
from specs_lab.rewards.format import SECTIONS, Parts, follows, parse, tags_of, write

FORMATS = list(SECTIONS)
GOOD = "<think> 3+4=7 </think> <answer> 7 </answer>"

# Pieces that responses are made of, so that generated texts come close to following the format.
PIECES = ["<think>", "</think>", "<answer>", "</answer>", " ", "\n", "7", "so it is", "<thinking>", "<steps>", "<"]


def naive_follows(response: str) -> bool:
    """A twin by another route: split at tags, compare the sequence of tags and the texts between them."""
    texts = re.split(r"</?think>|</?answer>", response)
    tags = re.findall(r"</?think>|</?answer>", response)
    if tags != ["<think>", "</think>", "<answer>", "</answer>"]:
        return False
    before, reasoning, between, answer, after = (text.strip() for text in texts)
    return bool(reasoning and answer) and not (before or between or after)


def test_every_format_name_and_every_instruction_has_sections():
    assert set(SECTIONS) == set(get_args(FormatName))
    assert {instruction.format for instruction in INSTRUCTIONS.values()} <= set(SECTIONS)


@given(st.lists(st.sampled_from(PIECES), max_size=9).map("".join))
def test_against_naive_twin(response: str):
    assert follows(response, "think_answer") == naive_follows(response)


@given(
    st.lists(st.sampled_from(["7", " ", "\n", "word", "<b>"]), max_size=4).map("".join),
    st.lists(st.sampled_from(["", " ", "\n\t"]), min_size=3, max_size=3),
)
def test_against_naive_twin_around_a_good_response(inside: str, gaps: list[str]):
    response = f"{gaps[0]}<think>{inside}</think>{gaps[1]}<answer>{inside}</answer>{gaps[2]}"
    assert follows(response, "think_answer") == naive_follows(response) == bool(inside.strip())


@pytest.mark.parametrize("format", FORMATS)
@given(st.text(alphabet="ab 7\n<>/.", min_size=1), st.text(alphabet="ab 7\n<>/.", min_size=1))
def test_what_is_written_is_parsed_back(format: FormatName, reasoning: str, answer: str):
    parts = Parts(reasoning.strip(), answer.strip())
    assert parse(write(parts, format), format) == (parts if all(parts) else None)


@pytest.mark.parametrize(
    "response",
    [
        GOOD,
        f"\n  {GOOD}\n",
        "<think>line one\n\nline two</think>\n\n<answer>\n7\n</answer>",
        "<think> a < b and </ is no tag </think><answer>7</answer>",
        "<think> <steps> other tags are text </steps> </think> <answer> 7 </answer>",
    ],
)
def test_followed(response: str):
    assert follows(response, "think_answer")


@pytest.mark.parametrize(
    ("response", "why"),
    [
        ("", "nothing"),
        ("7", "no tags"),
        (GOOD + " I hope this helps.", "text after"),
        ("Sure. " + GOOD, "text before"),
        (GOOD.replace("</think> <", "</think> so <"), "text between"),
        (GOOD.replace("3+4=7", ""), "blank reasoning"),
        (GOOD.replace(" 7 ", " \n "), "blank answer"),
        (GOOD + GOOD, "every tag twice"),
        (GOOD + "<answer> 8 </answer>", "two answers"),
        (GOOD.replace("<think>", "<think><think>"), "opened twice"),
        (GOOD.replace("</think>", ""), "reasoning not closed"),
        (GOOD.removesuffix("</answer>"), "truncated"),
        ("<answer> 7 </answer> <think> 3+4=7 </think>", "sections swapped"),
        ("<think> 3+4=7 <answer> 7 </answer> </think>", "answer inside the reasoning"),
        ("<think> 3+4=7 <answer> </think> 7 </answer>", "sections overlap"),
        ("</think> 3+4=7 <think> <answer> 7 </answer>", "closed before opened"),
        (GOOD.upper(), "tags are lower case"),
        (GOOD.replace("think", "thinking"), "another tag"),
        (GOOD.replace("<think>", "< think >"), "white space in a tag"),
    ],
)
def test_not_followed(response: str, why: str):
    assert not follows(response, "think_answer"), why


def test_one_format_does_not_count_as_the_other():
    assert follows(alternative_style("r", "a"), "steps_final")
    assert not follows(alternative_style("r", "a"), "think_answer")
    assert not follows(target_style("r", "a"), "steps_final")


@pytest.mark.parametrize("style", POLLUTED_STYLES)
@pytest.mark.parametrize("format", FORMATS)
def test_no_polluted_style_of_the_base_model_counts(style: str, format: FormatName):
    assert not follows(POLLUTED_STYLES[style]("3+4=7", "7"), format)


def test_tags_come_in_the_order_in_which_they_are_demanded():
    assert tags_of("steps_final") == ("<steps>", "</steps>", "<final>", "</final>")


def test_hostile_responses_take_linear_time():
    """A million characters each: anything quadratic would run for hours, so a generous limit decides."""
    code = """
from specs_lab.rewards.format import follows
from specs_lab.rewards.grader import extract
for piece in ("<think>", "</think>", "<answer>", "<think></think><answer>", " ", "a ", r"\\boxed{", "{", "}",
              "answer is ", "answer ", "#", "1", "So the "):
    text = piece * (1_000_000 // len(piece))
    for response in (text, f"<think>{text}</think> <answer>{text}</answer>", f"<think>{text}", f"answer{text}x"):
        follows(response, "think_answer")
        extract(response)
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
