"""Text transforms of self-distillation: what is said survives, the form is completed or spoiled on purpose."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from specs_lab.core.errors import UserError
from specs_lab.data.constructions.self_distill import SelfDistill
from specs_lab.data.text import AND, POLLUTERS, consistent, cut_at_reflection, pollute, read, supplement
from specs_lab.pretraining.corpus import POLLUTED_STYLES, alternative_style, target_style
from specs_lab.problems.base import FAMILIES, make_problem
from specs_lab.problems.instructions import FormatName
from specs_lab.rewards.extraction import extract
from specs_lab.rewards.format import SECTIONS, follows, parse, tags_of
from specs_lab.rewards.grader import grade

STYLES = {**POLLUTED_STYLES, "target": target_style, "alternative": alternative_style}
FORMATS = list(SECTIONS)
R, A = "digits 3 and 4. 3+4=7", "7"

# Texts without "<" hold no tags, as everything that `read` returns; no announcement of an answer either.
SAID = st.text(alphabet="abc 123.+=\n", min_size=1, max_size=30).map(str.strip).filter(bool)


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("family", FAMILIES.names())
def test_every_response_style_of_the_base_model_is_read_without_loss(family: str, style: str):
    for index in range(5):
        problem = make_problem(family, seed=3, index=index)
        assert read(STYLES[style](problem.reasoning, problem.answer)) == (problem.reasoning, problem.answer)


@pytest.mark.parametrize(
    ("response", "parts"),
    [
        ("Reasoning: 3+4=7. Therefore, the final answer is 7. Bye.", ("3+4=7", "7")),
        ("<think> It is 7. </think>\n\\boxed{7}", ("It is 7.", "7")),
        ("<think> <steps> 3+4=7 </steps> </think> <answer> 7 </answer>", ("<steps> 3+4=7 </steps>", "7")),
        ("line one\nline two\n#### 7", ("line one\nline two", "7")),
    ],
)
def test_joining_words_and_remarks_belong_to_neither_part(response: str, parts: tuple[str, str]):
    found = read(response)
    assert found is not None
    assert "<" not in "".join(found)
    assert tuple(found) == tuple(part.replace("<steps> ", "").replace(" </steps>", "") for part in parts)


@pytest.mark.parametrize(
    "response",
    ["", "7", "total 3 3", "<answer> 7 </answer>", "<think> 3+4", "<think> </think> 7", "So the answer is 7."],
)
def test_a_response_that_lacks_a_part_is_not_read(response: str):
    assert read(response) is None


@pytest.mark.parametrize("format", FORMATS)
@given(
    st.lists(st.sampled_from([*"a7. \n", *"<>", "<think>", "</think>", "<answer>", "</answer>", "</steps>", "####"]))
)
def test_whatever_is_read_can_be_supplemented(format: FormatName, pieces: list[str]):
    parts = read("".join(pieces))
    if parts is not None:
        assert parse(supplement(*parts, format=format), format) == parts


@pytest.mark.parametrize("format", FORMATS)
@given(SAID, SAID)
def test_supplementing_is_idempotent(format: FormatName, reasoning: str, answer: str):
    once = supplement(reasoning, answer, format)
    parts = read(once)
    assert parts == (reasoning, answer)
    assert supplement(*parts, format=format) == once


def test_the_pollutions_of_the_options_are_those_that_exist():
    assert set(SelfDistill().pollutions) == set(POLLUTERS)


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ("no_tags", f"{R} {A}"),
        ("no_answer_tags", f"<think> {R} </think> {A}"),
        ("no_think_tags", f"{R} <answer> {A} </answer>"),
        ("plain_answer", f"<think> {R} </think> Answer: {A}"),
        ("misplaced_tags", f"<think> {R} <answer> {A} </answer> </think>"),
    ],
)
def test_pollutions_written_out(how: str, expected: str):
    assert pollute(how, R, A) == expected


@pytest.mark.parametrize("format", FORMATS)
@given(reasoning=st.text(alphabet="ab7. <>/\n", max_size=20), answer=st.text(alphabet="ab7. <>/", max_size=8))
def test_pollutions_take_exactly_the_tags_and_the_spaces_that_writing_put_there(
    format: FormatName, reasoning: str, answer: str
):
    reasoning, answer = reasoning.strip(), answer.strip()
    opening, closing, answer_opening, answer_closing = tags_of(format)
    expected = {
        "no_tags": f"{reasoning} {answer}",
        "no_answer_tags": f"{opening} {reasoning} {closing} {answer}",
        "no_think_tags": f"{reasoning} {answer_opening} {answer} {answer_closing}",
        "plain_answer": f"{opening} {reasoning} {closing} Answer: {answer}",
        "misplaced_tags": f"{opening} {reasoning} {answer_opening} {answer} {answer_closing} {closing}",
    }
    if reasoning and answer:
        assert {how: pollute(how, reasoning, answer, format) for how in POLLUTERS} == expected


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ("no_think_tags+plain_answer", f"{R} Answer: {A}"),
        ("plain_answer+no_think_tags", f"{R} Answer: {A}"),
        ("plain_answer+misplaced_tags", f"<think> {R} Answer: {A} </think>"),
        ("misplaced_tags+no_think_tags", f"{R} <answer> {A} </answer>"),
        ("misplaced_tags+no_answer_tags", f"<think> {R} {A} </think>"),
        ("misplaced_tags+misplaced_tags", f"<think> {R} <answer> {A} </answer> </think>"),
        ("plain_answer+no_tags", f"{R} Answer: {A}"),
        ("no_answer_tags+no_think_tags", f"{R} {A}"),
    ],
)
def test_pollutions_can_be_done_one_after_the_other(how: str, expected: str):
    assert pollute(how, R, A) == expected


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("how", POLLUTERS)
@given(SAID, SAID)
def test_a_polluted_response_says_the_same_and_follows_no_format(
    how: str, format: FormatName, reasoning: str, answer: str
):
    spoiled = pollute(how, reasoning, answer, format)
    assert not any(follows(spoiled, other) for other in FORMATS)
    assert spoiled.index(reasoning) < spoiled.rindex(answer)


@pytest.mark.parametrize("format", FORMATS)
@given(st.lists(st.sampled_from(sorted(POLLUTERS)), min_size=1, max_size=4), SAID, SAID)
def test_no_composition_of_pollutions_follows_a_format(
    format: FormatName, names: list[str], reasoning: str, answer: str
):
    spoiled = pollute(AND.join(names), reasoning, answer, format)
    assert not any(follows(spoiled, other) for other in FORMATS)
    assert spoiled.index(reasoning) < spoiled.rindex(answer)


@pytest.mark.parametrize("format", FORMATS)
@given(
    st.lists(st.sampled_from(sorted(POLLUTERS)), min_size=1, max_size=4),
    st.lists(st.sampled_from([*"a7. \n", *"<>/", "<think>", "</think>", "<answer>", "</answer>", "</steps>", "####"])),
)
def test_whatever_is_read_can_be_polluted(format: FormatName, names: list[str], pieces: list[str]):
    parts = read("".join(pieces))
    if parts is not None:
        spoiled = pollute(AND.join(names), *parts, format=format)
        assert not any(follows(spoiled, other) for other in FORMATS)


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("how", [how for how in POLLUTERS if how != "no_tags"])
def test_the_answer_of_a_polluted_response_is_still_found(how: str, format: FormatName):
    """Without any tag or marker left (``no_tags``) nothing says which word the answer is."""
    assert extract(pollute(how, R, A, format)) == A
    assert grade(pollute(how, R, A, format), A, "integer").correct


def test_an_unknown_pollution_is_a_user_error():
    with pytest.raises(UserError, match="did you mean 'no_tags'"):
        pollute("no_tag", R, A)
    with pytest.raises(UserError, match="there is no ''"):
        pollute("no_tags+", R, A)


@pytest.mark.parametrize(
    ("reasoning", "kept"),
    [
        ("3+4=7. So 7.", "3+4=7. So 7."),
        ("3+4=7. Wait, 3+4=8. So 8.", "3+4=7."),
        ("3+4=7. So 7. But let me CHECK it. Yes.", "3+4=7. So 7."),
        ("3+4=7\nhmm. 8", "3+4=7"),
        ("a 3.5 b; alternatively c", "a 3.5 b;"),
        ("3+4=7, wait, 8", ""),  # all of it is one sentence
        ("Wait. 3+4=7.", ""),
        ("checkers await. 7", "checkers await. 7"),  # parts of words are no turns
        ("", ""),
    ],
)
def test_reasoning_is_cut_before_the_sentence_that_turns_back(reasoning: str, kept: str):
    assert cut_at_reflection(reasoning) == kept


@given(st.text(alphabet="a7 .\n;", max_size=20), st.sampled_from(["wait", "Hmm", "double-check", "mistake"]), SAID)
def test_what_is_kept_is_a_beginning_without_a_turn(before: str, turn: str, after: str):
    reasoning = f"{before} {turn} {after}".strip()
    kept = cut_at_reflection(reasoning)
    assert reasoning.startswith(kept)
    assert turn not in kept
    assert cut_at_reflection(kept) == kept


@pytest.mark.parametrize(
    ("reasoning", "answer", "kind", "agrees"),
    [
        (R, "7", "integer", True),
        (R, "7.0", "integer", True),
        (R, "3", "integer", False),  # occurs, but is not what the derivation arrives at
        ("total 17", "7", "integer", False),
        ("9-3=6", "6", "integer", True),
        ("3-9=-6", "-6", "integer", True),
        ("3-9=-6", "6", "integer", False),
        ("it holds 1,234.", "1234", "integer", True),
        ("cells a1 c3", "3", "integer", False),
        ("no number", "7", "integer", False),
        ("cell a1 has a Red \t Circle", "red circle", "word", True),
        ("a scattered pattern", "cat", "word", False),
        ("more red than blue\nso red", "red", "word", True),
        ("more red than blue\nso red", "blue", "word", False),
        ("1 is more than 0. So it is true", "yes", "boolean", True),
        ("1 is more than 0. So it is true", "no", "boolean", False),
        ("red: a1. blue: none. 1 vs 0 red.", "red", "word", True),
        ("red: a1. blue: none. 1 vs 0 red", "blue", "word", False),  # occurs, but is not what it arrives at
        ("arrow points up. C up", "C", "choice", True),
        ("C is left. It points up B", "C", "choice", False),
        ("arrow points up. C up", "C up", "choice", True),
        ("arrow points up, a turn", "A", "choice", False),
        (R, "seven", "integer", True),
        (R, "lots", "integer", False),
    ],
)
def test_reasoning_and_answer_agree(reasoning: str, answer: str, kind: str, agrees: bool):
    assert consistent(reasoning, answer, kind) is agrees


def test_the_kind_is_inferred_or_must_exist():
    assert consistent(R, "7")
    assert not consistent(R, "3")
    with pytest.raises(UserError, match="there is no 'intger'"):
        consistent(R, "7", "intger")


@pytest.mark.parametrize("family", FAMILIES.names())
def test_gold_derivations_agree_with_the_gold_answer_and_with_no_other(family: str):
    problems = [make_problem(family, seed=5, index=index) for index in range(30)]
    others = {problem.answer for problem in problems}
    for problem in problems:
        assert consistent(problem.reasoning, problem.answer, problem.answer_type)
        for other in others - {problem.answer}:
            assert not consistent(problem.reasoning, other, problem.answer_type)
