"""The format reward: exactly the requested form, nothing that merely resembles it."""

import re
import subprocess
import sys
from collections.abc import Callable
from typing import cast, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from specs_lab.core.errors import UserError
from specs_lab.pretraining.corpus import POLLUTED_STYLES, alternative_style, target_style
from specs_lab.problems.instructions import INSTRUCTIONS, FormatName
from specs_lab.rewards.format import (
    FORMATS,
    SECTIONS,
    Parts,
    answer_of,
    follows,
    parse,
    share_followed,
    tags_of,
    write,
)

ASKED_FOR = list(SECTIONS)
GOOD = "<think> 3+4=7 </think> <answer> 7 </answer>"
GOOD_BOXED = "<think> 3+4=7 </think> So it is \\boxed{7}."

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


def test_every_format_that_is_written_or_asked_for_is_known():
    asked = set(get_args(FormatName))
    assert set(SECTIONS) < asked <= set(FORMATS)
    assert {instruction.format for instruction in INSTRUCTIONS.values()} <= asked


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


@pytest.mark.parametrize("format", ASKED_FOR)
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
@pytest.mark.parametrize("format", ASKED_FOR)
def test_no_polluted_style_of_the_base_model_counts(style: str, format: FormatName):
    assert not follows(POLLUTED_STYLES[style]("3+4=7", "7"), format)


def test_tags_come_in_the_order_in_which_they_are_demanded():
    assert tags_of("steps_final") == ("<steps>", "</steps>", "<final>", "</final>")


FOLLOWED = [
    ("think_answer", "<think> a </think> <answer> \\boxed{7} </answer>", ("a", "\\boxed{7}")),
    ("think_answer", "<think>\u200b a \u200b</think>\ufeff<answer>\u20607</answer>\u00ad", ("a", "7")),
    ("think_answer", "<think> \u00e9\u200bt\u00e9 </think> <answer> 7 </answer>", ("\u00e9\u200bt\u00e9", "7")),
    ("think_answer", "<think> <Answer> </think> <answer> <answer 7 </answer>", ("<Answer>", "<answer 7")),
    ("steps_final", "<steps> <think> a </think> </steps><final>7</final>", ("<think> a </think>", "7")),
    ("thinking_answer", "<thinking> a </thinking>\n<answer> 7 </answer>", ("a", "7")),
    ("thinking_answer", "<thinking> <think> </thinking>\n<answer> 7 </answer>", ("<think>", "7")),
    ("think_boxed", "<think> a </think> \\boxed{7}", ("a", "7")),
    ("think_boxed", "\n<think> a </think> So it is \\boxed{ 7 }. Bye!", ("a", "7")),
    ("think_boxed", "<think> \\boxed{6}, \\boxed{ </think> \\boxed{7}", ("\\boxed{6}, \\boxed{", "7")),
    ("think_boxed", "<think> a </think> } <answer> \\boxed{\\frac{1}{2}} {", ("a", "\\frac{1}{2}")),
    ("think_boxed", "<think> a </think> \\boxed{\\{1, 2\\}}", ("a", "\\{1, 2\\}")),
    ("think_boxed", "<think> a </think> \\boxed{\\boxed{7}}", ("a", "\\boxed{7}")),
    ("boxed", "\\boxed{7}", ("", "7")),
    ("boxed", "It is \\boxed{7}, I think.", ("It is , I think.", "7")),
    ("boxed", "<think> a </think> <answer> \\boxed{7} </answer>", ("<think> a </think> <answer>  </answer>", "7")),
    ("boxed", "\\\\boxed{6} \\\\\\boxed{\\{\\}}", ("\\\\boxed{6} \\\\", "\\{\\}")),
]


@pytest.mark.parametrize(("format", "response", "parts"), FOLLOWED)
def test_what_a_response_that_follows_says(format: str, response: str, parts: tuple[str, str]):
    assert parse(response, format) == Parts(*parts)
    assert follows(response, format)
    assert share_followed(response, format) == 1
    assert answer_of(response, format) == parts[1]


@pytest.mark.parametrize(
    ("format", "response", "why"),
    [
        ("think_answer", "<think>\u200b</think> <answer> 7 </answer>", "reasoning that cannot be seen"),
        ("think_answer", "<think> a </think> <answer>\u202e\u2066</answer>", "an answer that cannot be seen"),
        ("think_answer", "<think> a </think>\u200b.<answer> 7 </answer>", "a full stop between"),
        ("think_answer", "<think> a </think> <answer> <answer> 7 </answer> </answer>", "nested answers"),
        ("think_answer", "<think\u200b> a </think> <answer> 7 </answer>", "a tag that only looks like one"),
        ("thinking_answer", GOOD, "other tags"),
        ("think_boxed", "<think> a </think> 7", "no box"),
        ("think_boxed", "<think> a \\boxed{7} </think>", "box inside the reasoning only"),
        ("think_boxed", "\\boxed{7} <think> a </think>", "box before the reasoning"),
        ("think_boxed", "<think> a </think> \\boxed{6} \\boxed{7}", "two boxes"),
        ("think_boxed", "<think> a </think> \\boxed{7} \\boxed{7", "a box that is not closed as well"),
        ("think_boxed", "<think> a </think> \\boxed{6 \\boxed{7}", "a box that is not closed around"),
        ("think_boxed", "<think> a </think> \\boxed{7\\}", "the closing brace is escaped"),
        ("think_boxed", "<think> a </think> \\boxed{ \u200b }", "blank box"),
        ("think_boxed", "<think> a </think> \\boxed{\\boxed{ } {}}", "blank boxes"),
        ("think_boxed", "<think> </think> \\boxed{7}", "blank reasoning"),
        ("think_boxed", "So <think> a </think> \\boxed{7}", "text before"),
        ("think_boxed", "<think> a </think> \\boxed{7} <think>", "a tag again"),
        ("think_boxed", "<think> a </think> \\boxed{7 </think>}", "a tag again, in the box"),
        ("think_boxed", "\\boxed{7}", "no reasoning"),
        ("think_boxed", "<think> a \\boxed{ </think> 7}", "box across a tag"),
        ("boxed", "", "nothing"),
        ("boxed", "7", "no box"),
        ("boxed", "\\boxed 7", "no braces"),
        ("boxed", "\\boxed {7}", "white space in front of the brace"),
        ("boxed", "\\boxed{}", "empty box"),
        ("boxed", "\\boxed{6}\\boxed{7}", "two boxes"),
        ("boxed", "\\boxed{7", "not closed"),
        ("boxed", "\\\\boxed{7}", "a line break, then a word"),
        ("boxed", "\\fbox{7}", "another box"),
    ],
)
def test_what_does_not_follow(format: str, response: str, why: str):
    assert parse(response, format) is None, why
    assert not follows(response, format), why
    assert share_followed(response, format) < 1, why


@pytest.mark.parametrize(
    ("format", "response", "share"),
    [
        ("think_answer", "", 0),
        ("think_answer", "<think>", 1 / 5),
        ("think_answer", "<think> a </think> 7", 2 / 5),
        ("think_answer", "<think> a </think> <answer> 7", 3 / 5),
        ("think_answer", GOOD + ".", 4 / 5),
        ("think_answer", "</answer><answer></think><think>", 4 / 5),
        ("think_answer", GOOD, 1),
        ("think_answer", GOOD + "<answer>", 3 / 5),
        ("think_answer", GOOD + GOOD, 0),
        ("steps_final", GOOD, 0),
        ("think_boxed", "7", 0),
        ("think_boxed", "\\boxed{7}", 1 / 4),
        ("think_boxed", "<think> \\boxed{7}", 1 / 4),
        ("think_boxed", "a </think> \\boxed{7}", 2 / 4),
        ("think_boxed", "<think> \\boxed{7} </think>", 2 / 4),
        ("think_boxed", "\\boxed{7} <think> a </think>", 3 / 4),
        ("think_boxed", "\\boxed{6} <think> a </think> \\boxed{7}", 2 / 4),
        ("think_boxed", "<think> a </think> \\boxed{}", 3 / 4),
        ("think_boxed", GOOD_BOXED, 1),
        ("boxed", "7", 0),
        ("boxed", "\\boxed{ }", 1 / 2),
        ("boxed", "\\boxed{6} \\boxed{7}", 0),
        ("boxed", "It is \\boxed{7}", 1),
    ],
)
def test_each_part_of_a_format_earns_its_share(format: str, response: str, share: float):
    assert share_followed(response, format) == share


@pytest.mark.parametrize(
    ("format", "response", "answer"),
    [
        ("think_answer", "<answer> 7 </answer>", "7"),
        ("think_answer", "So <answer> 7 </answer>, bye", "7"),
        ("think_answer", "3+4 </think> <answer> 7 </answer>", "7"),
        ("think_answer", "<think> </think> <answer>\u200b 7 \ufeff</answer>", "7"),
        ("think_answer", "<think> a </think> <think> b </think> <answer> 7 </answer>", "7"),
        ("think_answer", "<steps> <answer> 7 </answer> </steps>", "7"),
        ("think_boxed", "It is \\boxed{7}.", "7"),
        ("think_boxed", "3 \\boxed{6} </think> \\boxed{7}", "7"),
        ("think_boxed", "So <think> \\boxed{5} \\boxed{6} </think> \\boxed{7}", "7"),
        ("boxed", "<think> \\boxed{7} </think>", "7"),
    ],
)
def test_an_answer_in_its_place_counts_whatever_the_rest(format: str, response: str, answer: str):
    assert not follows(response, format) or format == "boxed"
    assert answer_of(response, format) == answer


@pytest.mark.parametrize(
    ("format", "response", "why"),
    [
        ("think_answer", "", "nothing"),
        ("think_answer", "<think> a </think> \\boxed{7}", "not in its place"),
        ("think_answer", "<think> a </think> 7", "no tags"),
        ("think_answer", "<answer> 6 </answer> <answer> 7 </answer>", "several answers"),
        ("think_answer", "<think> <answer> 6 </answer> </think> <answer> 7 </answer>", "several, one in the reasoning"),
        ("think_answer", "<answer> 6 <answer> 7 </answer>", "opened twice"),
        ("think_answer", "<answer> 6 </answer> 7 </answer>", "closed twice"),
        ("think_answer", "<think> a </think> <answer> 7", "not closed"),
        ("think_answer", "<think> a </think> 7 </answer>", "not opened"),
        ("think_answer", "</answer> 7 <answer>", "closed before opened"),
        ("think_answer", "<think> <answer> 7 </answer> </think>", "inside the reasoning"),
        ("think_answer", "<answer> 7 </answer> </think>", "inside reasoning that the prompt may have opened"),
        ("think_answer", "<think> <answer> 7 </answer>", "reasoning never ends"),
        ("think_answer", "<think> a </think> <think> <answer> 7 </answer>", "reasoning begins again"),
        ("think_answer", "<answer> 7 </answer> <think> a </think>", "before the reasoning"),
        ("think_answer", "<think> a </think> <answer> 7 </answer> <think> b </think>", "before more reasoning"),
        ("think_answer", "<think> a <answer> </think> 7 </answer>", "overlaps the reasoning"),
        ("think_answer", "<think> a </think> <answer>\u200b</answer>", "shows nothing"),
        ("steps_final", GOOD, "tags of another format"),
        ("think_boxed", "<think> \\boxed{7} </think>", "inside the reasoning"),
        ("think_boxed", "\\boxed{7} </think>", "inside reasoning that the prompt may have opened"),
        ("think_boxed", "<think> \\boxed{7}", "reasoning never ends"),
        ("think_boxed", "\\boxed{7} <think> a </think>", "before the reasoning"),
        ("think_boxed", "\\boxed{7} <think> a </think> \\boxed{7}", "before and after the reasoning"),
        ("think_boxed", "<think> a </think> \\boxed{6} \\boxed{7}", "several boxes"),
        ("think_boxed", "<think> a </think> \\boxed{7} \\boxed{", "several boxes, one not closed"),
        ("think_boxed", "<think> a </think> \\boxed{7", "not closed"),
        ("think_boxed", "<think> a </think> \\boxed{ }", "shows nothing"),
        ("think_boxed", "<think> a </think> <answer> 7 </answer>", "not in its place"),
        ("boxed", "The answer is 7", "no box"),
        ("boxed", "\\boxed{6} \\boxed{7}", "several boxes"),
    ],
)
def test_an_answer_elsewhere_does_not_count(format: str, response: str, why: str):
    assert answer_of(response, format) is None, why


@pytest.mark.parametrize("function", [parse, follows, share_followed, answer_of])
def test_an_unknown_format_is_the_users_error(function: Callable[[str, str], object]):
    with pytest.raises(UserError, match=r"there is no 'think_anser'(.|\n)*did you mean 'think_answer'"):
        function(GOOD, "think_anser")


@pytest.mark.parametrize("name", ["think_boxed", "nothing"])
def test_only_what_prompts_ask_for_can_be_written(name: str):
    with pytest.raises(UserError, match=f"'{name}'(.|\n)*known: steps_final, think_answer"):
        write(Parts("a", "7"), cast(FormatName, name))


def test_hostile_responses_take_linear_time():
    """A million characters each: anything quadratic would run for hours, so a generous limit decides."""
    code = """
from specs_lab.rewards.format import follows
from specs_lab.rewards.extraction import extract
for piece in ("<think>", "</think>", "<answer>", "<think></think><answer>", " ", "a ", r"\\boxed{", "{", "}",
              "answer is ", "answer ", "#", "1", "So the "):
    text = piece * (1_000_000 // len(piece))
    for response in (text, f"<think>{text}</think> <answer>{text}</answer>", f"<think>{text}", f"answer{text}x"):
        follows(response, "think_answer")
        extract(response)
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_every_format_reads_hostile_responses_in_linear_time():
    """One and ten million characters: anything quadratic would run for an hour, so a generous limit decides."""
    code = r"""
from specs_lab.rewards.format import FORMATS, answer_of, follows, parse, share_followed
for piece in ("<think>", "</think><think>", "<think></think>", "<answer>", "<think><answer>", "<", "</", " ", "\u200b",
              "\u200b ", "{", "}", "\\", "\\{", "\\boxed", r"\boxed{", r"\boxed{}", r"\\boxed{"):
    for wrapping in ("%s", "<think>@%s@</think> <answer>@%s@</answer>", r"<think>7</think> @%s@ \boxed{@%s@}"):
        for letter in "7\u00e9":
            text = piece * (500_000 // len(piece))
            response = wrapping.replace("@", letter).replace("%s", text)
            for format in FORMATS:
                for function in (follows, share_followed, answer_of):
                    function(response, format)
    for format in ("think_answer", "think_boxed"):
        parse(piece * (10_000_000 // len(piece)), format)
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=600)
