"""The grammar that formats are written in, and all formats against twins that know nothing of it."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from specs_lab.rewards.format import FORMATS, answer_of, follows, parse, share_followed
from specs_lab.rewards.grammar import Box, BoxedText, Format, Parts, Section, boxes
from specs_lab.rewards.text import blank, strip

THREE = Format((Section("look"), Section("think"), Section("answer")))
LOOK_THEN_BOX = Format((Section("look"), Section("think"), BoxedText()))
ANSWER_ONLY = Format((Section("answer"),))


@pytest.mark.parametrize(
    ("elements", "why"),
    [
        ((), "nothing"),
        ((BoxedText(), Section("answer")), "boxed text before a section"),
        ((BoxedText(), BoxedText()), "boxed text twice"),
        ((Section("think"), Section("think")), "a name twice"),
        ((Section("think>"),), "no word"),
        ((Section(""),), "no name"),
    ],
)
def test_what_is_no_format(elements: tuple[Section | BoxedText, ...], why: str):
    with pytest.raises(ValueError, match="format"):
        Format(elements)


def test_formats_of_equal_elements_are_equal():
    assert Format((Section("think"), BoxedText())) == Format((Section("think"), BoxedText()))
    assert Format((Section("think"), BoxedText())) != Format((Section("thought"), BoxedText()))


def test_tags_in_the_order_in_which_they_must_occur():
    assert THREE.tags == ("<look>", "</look>", "<think>", "</think>", "<answer>", "</answer>")
    assert LOOK_THEN_BOX.tags == ("<look>", "</look>", "<think>", "</think>")
    assert Format((BoxedText(),)).tags == ()


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", []),
        ("7 {8} \\boxed 9", []),
        ("\\boxed{}", [Box(0, 8, "")]),
        ("a \\boxed{7} b", [Box(2, 11, "7")]),
        ("\\boxed{7}\\boxed{8}", [Box(0, 9, "7"), Box(9, 18, "8")]),
        ("\\boxed{\\frac{1}{2}}", [Box(0, 19, "\\frac{1}{2}")]),
        ("\\boxed{\\boxed{7}}", [Box(0, 17, "\\boxed{7}")]),
        ("\\boxed{\\{7\\}}", [Box(0, 13, "\\{7\\}")]),
        ("\\boxed{7\\}", [Box(0, 10, None)]),
        ("\\boxed{7\\\\}", [Box(0, 11, "7\\\\")]),
        ("\\\\boxed{7}", []),
        ("\\\\\\boxed{7}", [Box(2, 11, "7")]),
        ("} { \\boxed{7} {", [Box(4, 13, "7")]),
        ("\\boxed{7", [Box(0, 8, None)]),
        ("\\boxed{7} \\boxed{8", [Box(0, 9, "7"), Box(10, 18, None)]),
        ("\\boxed{7 \\boxed{8}", [Box(0, 18, None)]),
        ("\\boxed {7} \\fbox{8} \\Boxed{9} boxed{6}", []),
    ],
)
def test_outermost_boxes(text: str, found: list[Box]):
    assert list(boxes(text)) == found


@given(st.lists(st.sampled_from(["\\boxed{", "{", "}", "\\", "7"]), max_size=12).map("".join))
def test_boxes_lie_in_order_and_begin_and_end_where_they_say(text: str):
    end = 0
    for box in boxes(text):
        assert end <= box.start
        assert text.startswith("\\boxed{", box.start)
        if box.content is None:
            assert box.stop == len(text)
        else:
            assert text[box.start : box.stop] == f"\\boxed{{{box.content}}}"
        end = box.stop


def test_only_a_stretch_of_a_text_is_searched():
    text = "\\boxed{1} \\boxed{2} \\boxed{3}"
    assert list(boxes(text, 3, 20)) == [Box(10, 19, "2")]
    assert list(boxes(text, 10, 18)) == [Box(10, 18, None)]


def test_three_sections():
    good = "<look> a cube </look> <think> 1+2 </think> <answer> 3 </answer>"
    assert THREE.parse(good) == Parts("a cube\n\n1+2", "3")
    assert THREE.parse(good.replace("look", "seen")) is None
    assert THREE.parse("<think> 1+2 </think> <look> a cube </look> <answer> 3 </answer>") is None
    assert THREE.share(good) == 1
    assert THREE.share("<think> 1+2 </think> <look> a cube </look> <answer> 3 </answer>") == 6 / 7
    assert THREE.answer(good) == THREE.answer("<think> 1+2 </think> <answer> 3 </answer>") == "3"
    assert THREE.answer(good.replace("</look>", "")) == "3", "an earlier section may be broken"
    assert THREE.answer(good.replace("</think>", "")) is None


def test_two_sections_then_a_box():
    good = "<look> \\boxed{1} </look> <think> \\boxed{2} </think> so \\boxed{3}"
    assert LOOK_THEN_BOX.parse(good) == Parts("\\boxed{1}\n\n\\boxed{2}", "3")
    assert LOOK_THEN_BOX.parse(good.replace("</look>", "</look> so")) is None
    assert LOOK_THEN_BOX.share(good) == 1
    assert LOOK_THEN_BOX.answer(good) == "3"
    assert LOOK_THEN_BOX.answer(good.replace("</look>", "</look> \\boxed{4}")) is None


def test_a_format_may_do_without_reasoning():
    assert ANSWER_ONLY.parse(" <answer> 7 </answer>\n") == Parts("", "7")
    assert ANSWER_ONLY.parse("so <answer> 7 </answer>") is None
    assert ANSWER_ONLY.answer("so <answer> 7 </answer>") == "7"


@given(st.text(alphabet="a7 \n\t\u00a0\u200b\u200d\ufeff\u00ad\u202e\u2066é", max_size=8))
def test_what_is_invisible_is_the_same_as_everywhere(text: str):
    inside = ANSWER_ONLY.parse(f"<answer>{text}</answer>")
    assert inside == (None if blank(text) else Parts("", strip(text)))
    around = ANSWER_ONLY.parse(f"{text}<answer>7</answer>{text}")
    assert around == (Parts("", "7") if blank(text) else None)


# For the twins: the tags of each format, and whether the answer is in a box.
TAGS = {
    "think_answer": ["<think>", "</think>", "<answer>", "</answer>"],
    "steps_final": ["<steps>", "</steps>", "<final>", "</final>"],
    "thinking_answer": ["<thinking>", "</thinking>", "<answer>", "</answer>"],
    "think_boxed": ["<think>", "</think>"],
    "boxed": [],
}
BOXED = {"think_boxed", "boxed"}
PIECES = ["7", " ", "\u200b", "so", "<b>", "<", "\\boxed{7}", "\\boxed{", "{", "}", "\\{", "\\}", "\\\\", "\\"]


def split(response: str, format: str) -> tuple[list[str], list[str]]:
    """The texts between a format's tags, and the tags."""
    pieces = re.split(f"({'|'.join(TAGS[format])})", response) if TAGS[format] else [response]
    return pieces[::2], pieces[1::2]


def visible(text: str) -> str:
    return text.strip(" \n\u200b")


def naive_boxes(text: str) -> list[tuple[str, str | None, str]]:
    """What is before, in and after each outermost box: it ends at the first brace before which braces balance."""
    masked = re.sub(r"\\[\\{}]", "..", text)
    found, end = [], 0
    for box in re.finditer(r"\\boxed\{", masked):
        if box.start() < end:
            continue
        inside = [masked[box.end() : i] for i in range(box.end(), len(masked)) if masked[i] == "}"]
        balanced = [len(part) for part in inside if part.count("{") == part.count("}")]
        end = box.end() + balanced[0] + 1 if balanced else len(text)
        found.append((text[: box.start()], text[box.end() : end - 1] if balanced else None, text[end:]))
    return found


def naive_content(boxes: list[tuple[str, str | None, str]]) -> str:
    """What the only box says; nothing if it is not the only one, or says nothing but boxes."""
    content = boxes[0][1] if len(boxes) == 1 else None
    return visible(content) if content and visible(re.sub(r"\\boxed\{|[{}]", "", content)) else ""


def naive_boxes_outside(response: str, format: str) -> list[tuple[str, str | None, str]]:
    """The boxes in all texts that neither follow an opening tag nor precede a closing one."""
    texts, tags = split(response, format)
    around = zip(["</", *tags], texts, [*tags, "<"], strict=True)
    outside = [text for last, text, following in around if last[:2] == "</" and following[:2] != "</"]
    return [box for text in outside for box in naive_boxes(text)]


def naive_parse(response: str, format: str) -> Parts | None:
    texts, tags = split(response, format)
    if tags != TAGS[format]:
        return None
    if format not in BOXED:
        before, reasoning, between, answer, after = map(visible, texts)
        return Parts(reasoning, answer) if reasoning and answer and not (before or between or after) else None
    found = naive_boxes(texts[-1])
    answer = naive_content(found)
    if not answer:
        return None
    if format == "boxed":
        return Parts(visible(found[0][0] + found[0][2]), answer)
    before, reasoning = map(visible, texts[:2])
    return Parts(reasoning, answer) if reasoning and not before else None


def naive_share(response: str, format: str) -> float:
    _, tags = split(response, format)
    earned = [tags.count(tag) == 1 for tag in TAGS[format]]
    if format in BOXED:
        found = naive_boxes_outside(response, format)
        earned.append(len(found) == 1 and found[0][1] is not None)
    earned.append(naive_parse(response, format) is not None)
    return sum(earned) / len(earned)


def naive_answer(response: str, format: str) -> str | None:
    texts, tags = split(response, format)
    if format in BOXED:
        in_time = tags[-1:] != ["<think>"] and len(naive_boxes(texts[-1])) == 1
        return (naive_content(naive_boxes_outside(response, format)) or None) if in_time else None
    opens_reasoning, _, opening, closing = TAGS[format]
    if tags.count(opening) != 1 or tags.count(closing) != 1 or tags[-2:] != [opening, closing]:
        return None
    return None if tags[-3:-2] == [opens_reasoning] else visible(texts[-2]) or None


def responses(format: str) -> st.SearchStrategy[str]:
    """Any mixture of the format's tags and other pieces, and responses that follow it but for a few changes."""
    pieces = st.sampled_from(TAGS[format] + PIECES)
    tags = TAGS[format]
    good = [part for tag in tags[:2] for part in (tag, "so")][:3]
    good += ["so", "\\boxed{", "7", "}", "."] if format in BOXED else [tags[2], "7", tags[3]]

    def changed(changes: list[tuple[int, str, str]]) -> str:
        parts = list(good)
        for where, how, piece in changes:
            i = where % (len(parts) + 1)
            parts[i : i + (how != "insert")] = [] if how == "remove" else [piece]
        return "".join(parts)

    change = st.tuples(st.integers(0, 20), st.sampled_from(["insert", "replace", "remove"]), pieces)
    return st.lists(pieces, max_size=9).map("".join) | st.lists(change, max_size=3).map(changed)


@pytest.mark.parametrize("format", TAGS)
def test_against_naive_twins(format: str):
    followed = 0

    @given(responses(format))
    @settings(max_examples=500)
    def check(response: str):
        nonlocal followed
        parts = parse(response, format)
        followed += parts is not None
        assert parts == naive_parse(response, format)
        assert follows(response, format) == (parts is not None)
        assert share_followed(response, format) == naive_share(response, format)
        assert answer_of(response, format) == naive_answer(response, format)
        assert parts is None or parts.answer == answer_of(response, format)

    check()
    assert followed >= 20, "too few responses follow for the comparison to mean anything"


def test_every_format_has_a_twin():
    assert set(TAGS) == set(FORMATS)
