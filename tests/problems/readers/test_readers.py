"""Every reader, on a table of the real schema: rows are parsed, prompted and graded, broken ones counted by reason."""

from collections import Counter

import pytest

from specs_lab.problems.base import SPLITS
from specs_lab.problems.readers.base import READERS, Place, options_in, without_format_request
from specs_lab.problems.rows import BrokenRow
from specs_lab.problems.scoring import assessor
from specs_lab.problems.tasks import TaskRef


def all_tasks(problems):
    """Every task of a dataset, in the order of its rows."""
    entries = problems.index.entries
    return [problems.redraw(TaskRef(f"{entry.id}/plain/r1", "id")) for entry in entries]


def test_the_fixtures_cover_every_reader(reader: str):
    assert reader in READERS


def test_good_rows_become_problems_in_their_order(reader: str, write_dataset, open_dataset):
    written = write_dataset(reader)
    problems = open_dataset(written)
    counts = problems.index.counts
    assert dict(counts.broken) == {}
    assert counts.rows == len(problems.index.entries) == len(written.sample.good)
    assert sum(problems.size("id", split) for split in SPLITS) == counts.rows
    assert len({task.id for task in all_tasks(problems)}) == counts.rows


def test_problems_are_prompted_with_their_pictures(reader: str, write_dataset, open_dataset, toy_vlm):
    tasks = all_tasks(open_dataset(write_dataset(reader)))
    prompts = toy_vlm.encode_prompts(
        [task.text for task in tasks], [task.images for task in tasks], [task.id for task in tasks]
    )
    assert [len(prompt.token_ids) > 0 for prompt in prompts] == [True] * len(tasks)
    assert [bool(prompt.vision) for prompt in prompts] == [bool(task.images) for task in tasks]


def test_the_gold_answer_is_right_and_another_wrong(reader: str, write_dataset, open_dataset):
    written = write_dataset(reader)
    tasks = all_tasks(open_dataset(written))
    for answers, right in (([task.problem.answer for task in tasks], True), (written.sample.wrong, False)):
        texts = [f"<think> I look. </think> <answer> {answer} </answer>" for answer in answers]
        scores = assessor()(texts, tasks)
        assert [score.accuracy for score in scores] == [right] * len(tasks)
        assert all(score.format for score in scores)


def test_broken_rows_are_counted_by_reason_with_an_example_each(reader: str, write_dataset, open_dataset):
    written = write_dataset(reader, broken=True)
    counts = open_dataset(written).index.counts
    expected = Counter(reason for reason, _ in written.sample.broken)
    assert counts.broken == expected
    assert set(counts.examples) == set(expected)
    assert counts.rows == len(written.sample.good) + sum(expected.values())


def test_streamed_rows_are_those_of_the_whole_table(reader: str, write_dataset, open_dataset):
    written = write_dataset(reader, broken=True)
    whole, streamed = (
        open_dataset(written, streaming=stream, limit=len(written.sample.good)) for stream in (False, True)
    )
    assert [entry.id for entry in streamed.index.entries] == [entry.id for entry in whole.index.entries]
    for one, other in zip(all_tasks(streamed), all_tasks(whole), strict=True):
        assert (one.id, one.text, one.problem.answer) == (other.id, other.text, other.problem.answer)
        assert [image.tobytes() for image in one.images] == [image.tobytes() for image in other.images]


@pytest.mark.parametrize(
    ("question", "answer", "options"),
    [
        ("Which?\nA. one\nB. two\nC. three", "B", ("one", "two", "three")),
        ("Which? (A) one (B) two", "(B)", ("one", "two")),
        ("Which? A. one B. two\nAnswer with the letter.", "A", ("one", "two")),
        ("Which? A: 1, B: 2, C: 3", "2", ("1", "2", "3")),
        ("Which?\nA) one\nB) two", "B. two", ("one", "two")),
        ("Which?\nA. one\nB. two", "D", ()),  # there is no D
        ("Which?\nA. one\nC. two", "A", ()),  # there is no B
        ("Which?\nA. one\nB. one", "A", ()),  # which of them?
        ("Point A. lies on B. How far is it?", "7", ()),  # no option is meant
        ("Find the side AB.", "B", ()),
        ("Which?\nA. one\nB.", "A", ()),
    ],
)
def test_options_are_recognised_where_they_are_beyond_doubt(question: str, answer: str, options: tuple[str, ...]):
    assert options_in(question, answer) == options


@pytest.mark.parametrize(
    ("question", "kept"),
    [
        ("How long? Put your answer in \\boxed{}.", "How long?"),
        ("How long?\nThink in <think> </think>. Answer in <answer> </answer>.", "How long?"),
        ("How long is \\boxed{AB}?", "How long is \\boxed{AB}?"),
        ("Is it 2.5 long?", "Is it 2.5 long?"),
    ],
)
def test_requests_for_a_format_at_the_end_are_left_out(question: str, kept: str):
    assert without_format_request(question) == kept


def test_families_of_geometry_are_told_by_what_is_asked_for():
    families = [
        READERS.get("geometry3k")({"images": [b"x"], "problem": f"<image>{text}", "answer": "5"}, Place()).family
        for text in ("Find $m \\angle 1$.", "Find the perimeter.", "Find $\\tan A$.", "Find y.")
    ]
    assert families == ["angle", "area", "ratio", "length"]


def test_the_thought_of_a_distilled_response_becomes_the_reasoning(write_dataset, open_dataset):
    tasks = all_tasks(open_dataset(write_dataset("multimodal_cold_start")))
    assert [task.problem.answer for task in tasks] == ["7", "B", "2.5"]
    assert tasks[0].problem.reasoning == "I look at it: 3 and 4 make 7."
    assert tasks[1].problem.reasoning.startswith("The bar is blue.")


def test_a_thought_that_comes_to_something_else_is_no_reasoning(write_dataset, open_dataset):
    tasks = all_tasks(open_dataset(write_dataset("vlaa_thinking")))
    assert {task.problem.answer: task.problem.reasoning for task in tasks} == {
        "3": "I count three.",
        **dict.fromkeys(("45", "A", "Yes", "[10, 20, 30, 40]"), ""),
    }


def test_reasoning_is_read_wherever_there_is_some():
    row = {"question": "q", "problem": "q", "answer": "3", "original_answer": "3", "image": b"x", "reasoning": "So 3."}
    row["solution"] = "<think> So 3. </think> <answer> 3 </answer>"
    for name in ("columns", "multimodal_open_r1"):
        assert READERS.get(name)(row, Place()).reasoning == "So 3."


def test_a_number_that_is_none_is_no_answer():
    with pytest.raises(BrokenRow, match="has no answer"):
        READERS.get("columns")({"question": "q", "answer": float("nan")}, Place())


def test_open_answers_are_kept_if_somebody_can_judge_them():
    row = {
        "id": "1",
        "image": b"x",
        "question": "Why?",
        "gt": "Because the dog on the left runs faster than any other.",
    }
    row["gt"] += " It is also larger."
    with pytest.raises(BrokenRow, match="no rule can grade"):
        READERS.get("vlaa_thinking")(row, Place())
    assert READERS.get("vlaa_thinking")(row, Place(open_answers=True)).kind == "open"


def test_half_a_character_is_a_broken_value():
    row = {"id": "1", "image": b"x", "question": "Wh\ud83dat?", "gt": "1"}
    with pytest.raises(BrokenRow) as error:
        READERS.get("vlaa_thinking")(row, Place())
    assert error.value.reason == "bad_value"
