"""How responses to MEGA-Bench are taken apart, against the public rules, on cases written by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import pytest

from specs_lab.evaluation.benchmarks.conclusion import conclusion, last_box
from specs_lab.evaluation.benchmarks.literals import NotLiteral, json_value, literal, unquoted
from specs_lab.evaluation.benchmarks.mega_bench.parsing import ANSWER, ASCII, DUMMY, JSON, VERBATIM, fields_of
from specs_lab.evaluation.benchmarks.mega_bench.structures import last_structure

DOCS = Path(__file__).parents[3] / "docs"


class Parsed(NamedTuple):
    response: str
    public: str
    ours: str
    difference: str = ""


def same(response: str, answer: str) -> Parsed:
    return Parsed(response, answer, answer)


ANSWERS = (
    same("Answer: B", "B"),
    same("It is so. Answer: 7 cm", "7 cm"),
    same("**Answer: B**", "B"),
    same("**Answer: B** as I said", "B"),
    same("no answer is stated", "no answer is stated"),
    same("answer: B", "answer: B"),
    same("Answer: 'B'", "B"),
    same('Answer: "B"', "B"),
    same("Answer: B\n\nThis is because of the colour.", "B"),
    same("Answer: (B)\n\nThis is because of the colour.", "(B)"),
    same("Answer: B\nwhich is the last one", "B\nwhich is the last one"),
    same("Answer: $x$\n\nThis is why.", "$x$\n\nThis is why."),
    same("Answer:\n```\nB\n```\nthat is it", "B"),
    same("```json\n[1, 2]\n```", "[1, 2]"),
    same("Answer: [1, 2", "[1, 2"),
    same("Answer: ['a', \"b\"]", "['a', 'b']"),
    same('Answer: {"a": [1, 2]}', "{'a': [1, 2]}"),
    same("Answer: A\nAnswer: B", "A\nAnswer: B"),
    Parsed("**Answer:** B", "", "B", "bold_announcement"),
    Parsed("**Answer:** **B**", "", "B", "bold_announcement"),
    Parsed("<think>Answer: A</think>Answer: B", "A</think>Answer: B", "B", "reasoning_left_out"),
    Parsed("<think>A?</think><answer>B</answer>", "<think>A?</think><answer>B</answer>", "B", "reasoning_left_out"),
    Parsed("Hence \\boxed{B}", "Hence \\boxed{B}", "B", "box"),
)

RAW = "raw text"
FIELDS = (
    ('{"a": 1, "b": "x"}', {"a": 1, "b": "x"}, {"a": 1, "b": "x"}, ""),
    ("Here:\n```json\n{'a': 1}\n```", {"a": 1}, {"a": 1}, ""),
    ('Answer: {"a": "\'x\'"}', {"a": "x"}, {"a": "x"}, ""),
    ('{"a": "[1, 2]"}', {"a": [1, 2]}, {"a": [1, 2]}, ""),
    ('first {"a": 1} then {"a": 2}', {"a": 2}, {"a": 2}, ""),
    ("{'a': (1, 2)}", {"a": (1, 2)}, {"a": (1, 2)}, ""),
    ("{'a': 'it's'}", {"a": "it's"}, {"a": "it's"}, ""),
    ("{'a': 'it''s'}}", {"a": "its"}, {"a": "its"}, ""),
    ("no fields", {"a": RAW}, {"a": RAW}, ""),
    ("{}", {"a": RAW}, {"a": RAW}, ""),
    ("[1, 2]", {"a": RAW}, {"a": RAW}, ""),
    ('Answer:\n{\n"a": 1\n}', {"a": RAW}, {"a": 1}, "json_of_several_lines"),
    ('{"a": "} {"}', {"a": RAW}, {"a": "} {"}, "brackets_in_texts"),
    ('<think>{"a": 2}</think>none', {"a": 2}, {"a": RAW}, "reasoning_left_out"),
)


def _single(response: str, parser: str = ANSWER, *, one_line: bool = True, boxes: bool = True) -> Any:
    return fields_of(response, ["a"], parser, one_line=one_line, boxes=boxes)["a"]


@pytest.mark.parametrize("case", ANSWERS, ids=lambda case: repr(case.response))
def test_an_answer_is_read_as_the_public_parser_reads_it(case: Parsed) -> None:
    assert _single(case.response) == case.ours


@pytest.mark.parametrize(("response", "public", "ours", "difference"), FIELDS)
def test_fields_are_read_as_the_public_parser_reads_them(
    response: str, public: dict[str, Any], ours: dict[str, Any], difference: str
) -> None:
    del public, difference
    found = fields_of(response, ["a"], JSON, one_line=True, boxes=True)
    assert found == {key: conclusion(response) if value == RAW else value for key, value in ours.items()}


def test_whatever_differs_from_the_public_parser_is_documented_and_nothing_else_is() -> None:
    for case in ANSWERS:
        assert bool(case.difference) == (case.public != case.ours), case
    for response, public, ours, difference in FIELDS:
        assert bool(difference) == (public != ours), response
    written = "".join(path.read_text() for path in DOCS.glob("benchmarks*.md"))
    names = {case.difference for case in ANSWERS} | {difference for *_, difference in FIELDS}
    assert not {name for name in names if f"`{name}`" not in written} - {""}


def test_remarks_stay_where_the_answer_has_several_lines() -> None:
    assert _single("Answer: B\n\nC", one_line=False) == "B\n\nC"


def test_drawings_keep_their_white_space() -> None:
    assert _single("Answer:\n  /\\\n /  \\  \n\n", ASCII) == "  /\\\n /  \\"
    assert _single("```\n  /\\\n /  \\\n```", ASCII) == "  /\\\n /  \\"
    assert _single("Answer:\n\n  a \n", VERBATIM) == "  a "


def test_without_a_parser_every_field_holds_all_of_the_response() -> None:
    assert fields_of("x {'a': 1}", ["a", "b"], DUMMY, one_line=True, boxes=True) == dict.fromkeys("ab", "x {'a': 1}")


def test_a_box_stays_for_a_metric_that_opens_it_itself() -> None:
    assert _single("so \\boxed{3}", boxes=False) == "so \\boxed{3}"
    assert _single("Answer: \\boxed{3}") == "\\boxed{3}"


def test_the_conclusion_is_the_last_complete_answer_or_what_follows_the_reasoning() -> None:
    assert conclusion("a <answer>1</answer> b <answer> 2 </answer> <answer>3") == "2"
    assert conclusion("<think>x</think> y <answer>3") == "y <answer>3"
    assert conclusion("x") == "x"
    assert last_box("\\boxed{1} and \\boxed{\\frac{1}{2}} and \\boxed{3") == "\\frac{1}{2}"
    assert last_box("none") is None


def test_the_last_structure_that_can_be_read_is_found_however_many_brackets_there_are() -> None:
    assert last_structure("[1] and [2] and {x}") == [2]
    assert last_structure("[[1, 2], [3]] [oops") == [[1, 2], [3]]
    assert last_structure("{" * 20_000) is None
    assert last_structure("[" * 10_000 + "]" * 10_000) is None
    assert last_structure("{x} " * 5_000) is None
    assert last_structure("[" * 60 + "]" * 60) is None


LITERALS = (
    "__import__('os')",
    "[" * 500,
    "-" * 19_000 + "1",
    "1+" * 9_000 + "1",
    "x",
    "",
    "'" * 25_000,
    "9" * 19_000,
    "\x00",
)


@pytest.mark.parametrize("text", LITERALS, ids=lambda text: text[:10])
def test_what_is_no_literal_is_not_read(text: str) -> None:
    for read in (literal, json_value):
        with pytest.raises(NotLiteral):
            read(text)


def test_literals_and_json_are_read() -> None:
    assert literal(" {'a': (1, None), \"\\d\": {2}} ") == {"a": (1, None), "\\d": {2}}
    assert json_value('{"a": [1, null]}') == {"a": [1, None]}
    with pytest.raises(NotLiteral):
        json_value("NaN")
    with pytest.raises(NotLiteral):
        literal("[" * 60 + "]" * 60)
    assert unquoted("'B'") == "B"
    assert unquoted("[1]") == "[1]"
    assert unquoted(5) == 5
