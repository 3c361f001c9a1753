"""MMMU: the public parser's rules on cases written by hand, and rows of the real schema read from a real table."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from PIL import Image

from specs_lab.evaluation.benchmarks.base import BENCHMARKS
from specs_lab.evaluation.benchmarks.mmmu import DISCIPLINES, MMMU, chosen, matches, normalised, stated
from specs_lab.evaluation.benchmarks.storing import item_json, item_of
from specs_lab.problems.rows import BrokenRow, decoded
from specs_lab.problems.tables import TableRef, open_table

DOCS = Path(__file__).parents[3] / "docs"
GUESS = "a random guess"
PRICES = ("$6", "$7", "$8", "$9")
TREES = ("the old oak tree", "a birch", "the young pine", "an elm")
NUMBERS = ("10", "100", "1000", "5")


class Choice(NamedTuple):
    response: str
    options: tuple[str, ...]
    public: str
    ours: str | None
    difference: str = ""


class Open(NamedTuple):
    response: str
    golds: tuple[str, ...]
    public: bool
    ours: bool
    difference: str = ""


CHOICES = (
    Choice("B", PRICES, "B", "B"),
    Choice("(C)", PRICES, "C", "C"),
    Choice("B.", PRICES, "B", "B"),
    Choice("The answer is (D).", PRICES, "D", "D"),
    Choice("The answer is D", PRICES, "D", "D"),
    Choice("The answer is D.", PRICES, "D", "D"),
    Choice("(A) is wrong, so (C)", PRICES, "C", "C"),
    Choice("(C), since (A) is too small", PRICES, "A", "A"),
    Choice("(B) or maybe B , then A and D here", PRICES, "B", "B"),
    Choice("not A but B I think", PRICES, "B", "B"),
    Choice("A or B ?", PRICES, "B", "B"),
    Choice("E", PRICES, GUESS, None, "no_guess"),
    Choice("(E)", PRICES, GUESS, None, "no_guess"),
    Choice("I do not know", PRICES, GUESS, None, "no_guess"),
    Choice("", PRICES, GUESS, None, "no_guess"),
    Choice("It costs the shop about $8 in all", PRICES, "C", "C"),
    Choice("First $6 and then $9 , which is the price", PRICES, "D", "D"),
    Choice("I see The Young Pine in this picture", TREES, "C", "C"),
    Choice("what stands there is a birch, not the old oak tree", TREES, "A", "A"),
    Choice("in all there are one 100 of them", NUMBERS, "A", "A"),
    Choice("the young pine", TREES, GUESS, "C", "label_or_text"),
    Choice("$7", PRICES, GUESS, "B", "label_or_text"),
    Choice("B. $7", PRICES, GUESS, "B", "label_or_text"),
    Choice("B: $7", PRICES, GUESS, "B", "label_or_text"),
    Choice("**B**", PRICES, GUESS, "B", "label_or_text"),
    Choice("B\n", PRICES, GUESS, "B", "white_space"),
    Choice(" C. ", PRICES, GUESS, "C", "white_space"),
    Choice("b", PRICES, GUESS, "B", "label_or_text"),
    Choice("<think>(A) looks good</think>\nB", PRICES, "A", "B", "reasoning_left_out"),
    Choice("<think>A or B ?</think><answer>(D)</answer> and (C)", PRICES, "C", "D", "reasoning_left_out"),
    Choice("Hence \\boxed{C} and not (A)", PRICES, "A", "C", "box"),
)

OPENS = (
    Open("8", ("8",), True, True),
    Open("8.00", ("8",), True, True),
    Open("The answer is 8.", ("8",), True, True),
    Open("The answer is 7.", ("8",), False, False),
    Open("x = 3\nso x = 4", ("4",), True, True),
    Open("so x = 4\nwhich holds", ("4",), True, True),
    Open("So the mass is 1,234 kg", ("1234",), True, True),
    Open("the result is 1.2e3", ("1200",), True, True),
    Open("the result is 0.333", ("0.33",), True, True),
    Open("the result is 0.34", ("0.33",), False, False),
    Open("the result is -5", ("5",), False, False),
    Open("The animal is a cat", ("cat",), True, True),
    Open("The animal is a CAT.", ("Cat",), True, True),
    Open("The animal is a dog", ("cat",), False, False),
    Open("The final answer could be concatenated", ("cat",), True, True),
    Open("it is vitamin c", ("C",), True, True),
    Open("acid", ("C",), False, False),
    Open("blue", ("red", "blue"), True, True),
    Open("5", ("red", "5"), True, True),
    Open("24/7", ("24/7",), True, True),
    Open("3 and 4", ("4",), True, True),
    Open("The cat is big. The answer is dog", ("dog",), True, True),
    Open("", ("cat",), False, False),
    Open("<think>is it 8</think><answer>9</answer>", ("8",), True, False, "reasoning_left_out"),
    Open("so 8 \\boxed{9}", ("8",), True, False, "box"),
)


def _verdict(item_extra: dict[str, Any], response: str) -> Any:
    row = {
        "id": "validation_Math_1",
        "question": "What? <image 1>",
        "question_type": "multiple-choice" if item_extra["options"] else "open",
        "options": repr(list(item_extra["options"])),
        "answer": item_extra["answer"],
        "image_1": b"x",
    }
    return MMMU().score(MMMU().read(row), response, None)


@pytest.mark.parametrize("case", CHOICES, ids=lambda case: repr(case.response))
def test_letters_are_found_as_the_public_parser_finds_them(case: Choice) -> None:
    verdict = _verdict({"options": case.options, "answer": case.ours or "A"}, case.response)
    assert verdict.extracted == case.ours
    assert verdict.correct == (case.ours is not None)


@pytest.mark.parametrize("case", OPENS, ids=lambda case: repr(case.response))
def test_open_answers_are_compared_as_the_public_parser_compares_them(case: Open) -> None:
    answer = case.golds[0] if len(case.golds) == 1 else repr(list(case.golds))
    assert _verdict({"options": (), "answer": answer}, case.response).correct == case.ours


def test_whatever_differs_from_the_public_parser_is_documented_and_nothing_else_is() -> None:
    assert len(CHOICES) + len(OPENS) >= 40
    for case in (*CHOICES, *OPENS):
        assert bool(case.difference) == (case.public != case.ours), case
    written = "".join(path.read_text() for path in DOCS.glob("benchmarks*.md"))
    missing = {case.difference for case in (*CHOICES, *OPENS) if f"`{case.difference}`" not in written} - {""}
    assert not missing


def test_an_answer_that_is_only_in_the_reasoning_is_none() -> None:
    assert chosen("", PRICES) is None
    assert not _verdict({"options": PRICES, "answer": "A"}, "<think>(A) it is</think>").correct


def test_a_single_character_is_not_found_within_words() -> None:
    assert normalised("C") == [" c", "c "]
    assert not matches(stated("acid"), ["C"])


@pytest.mark.parametrize("text", ["1" * 60_000, "is " * 30_000, "(" * 90_000, "-" * 90_000, "a.\n" * 30_000])
def test_hostile_responses_are_scored_at_once(text: str) -> None:
    assert not _verdict({"options": (), "answer": "zebra"}, text).correct
    assert not _verdict({"options": PRICES, "answer": "A"}, text).correct


def _png(colour: str) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (4, 3), colour).save(buffer, "PNG")
    return buffer.getvalue()


def _row(**changes: Any) -> dict[str, Any]:
    row: dict[str, Any] = {
        "id": "validation_Accounting_1",
        "question": "<image 1> Each unit costs more. Compare <image 2>. What is the price?",
        "options": "['$6', '<image 1>', '$8', '$9']",
        "explanation": "As <image 3> shows.",
        "img_type": "['Tables']",
        "answer": "B",
        "topic_difficulty": "Easy",
        "question_type": "multiple-choice",
        "subfield": "Managerial Accounting",
    }
    row |= {f"image_{number}": None for number in range(1, 8)}
    row |= {f"image_{number}": {"bytes": _png(colour), "path": None} for number, colour in _COLOURS.items()}
    return row | changes


_COLOURS = {1: "red", 2: "green", 3: "blue"}


def _item(**changes: Any) -> Any:
    return MMMU().read(_row(**changes))


def test_rows_of_a_real_table_are_read_asked_and_scored(tmp_path: Path) -> None:
    from datasets import Dataset, Features, Value
    from datasets import Image as ImageFeature

    pictures = {f"image_{number}": ImageFeature() for number in range(1, 8)}
    rows = [_row(), _row(id="validation_Art_2", question_type="open", options="[]", answer="['3', 'three']")]
    features = Features({key: Value("string") for key in rows[0] if key not in pictures} | pictures)
    (tmp_path / "Accounting").mkdir()
    Dataset.from_list(rows, features=features).to_parquet(tmp_path / "Accounting" / "validation-00000-of-00001.parquet")
    table = open_table(TableRef(path=str(tmp_path), config="Accounting", split="validation"))
    first, second = (MMMU().read(row) for row in table)
    assert [image.getpixel((0, 0)) for image in decoded(first.row.images, tmp_path)] == [
        (255, 0, 0),
        (0, 128, 0),
        (255, 0, 0),
    ]
    assert MMMU().ask(first) == (
        "<image> Each unit costs more. Compare <image>. What is the price?\n(A) $6\n(B) <image>\n(C) $8\n(D) $9\n\n"
        "Answer with the option's letter from the given choices."
    )
    assert MMMU().ask(second).endswith("price?\nAnswer the question using a single word or phrase.")
    assert first.row.family == "Accounting"
    for item, right, wrong in ((first, "The answer is (B).", "(C)"), (second, "It is three", "It is four")):
        stored = item_of(item_json(item))
        assert MMMU().score(stored, right, None).correct
        assert not MMMU().score(stored, wrong, None).correct
    json.dumps(dict(first.extra))


def test_pictures_that_nothing_names_stand_before_the_question_unless_they_explain_the_answer() -> None:
    item = _item(question="What is it?", options="['1', '2']", answer="A")
    assert [image["bytes"] for image in item.row.images] == [_png("red"), _png("green")]
    assert "<image>" not in item.row.question


def test_pictures_that_only_the_explanation_names_are_left_out() -> None:
    assert len(_item().row.images) == 3
    assert _png("blue") not in [image["bytes"] for image in _item().row.images]


BROKEN = (
    ({"id": None}, "no_id"),
    ({"question": " "}, "no_question"),
    ({"question_type": None}, "no_question_type"),
    ({"question_type": "essay"}, "unknown_type"),
    ({"options": "[]"}, "bad_options"),
    ({"options": "['only one']"}, "bad_options"),
    ({"options": "['one', '']"}, "bad_options"),
    ({"options": "__import__('os').getcwd()"}, "bad_options"),
    ({"options": "[" * 400}, "bad_options"),
    ({"options": f"['{'x' * 30_000}', 'y']"}, "bad_options"),
    ({"options": None}, "bad_options"),
    ({"answer": "?"}, "no_answer"),
    ({"answer": None}, "no_answer"),
    ({"answer": "E"}, "gold_no_option"),
    ({"answer": "$6"}, "gold_no_option"),
    ({"question_type": "open", "answer": "[1, [2]]"}, "bad_answer"),
    ({"question_type": "open", "answer": "['a', '']"}, "bad_answer"),
    ({"image_2": None}, "missing_image"),
    ({"question": "Which <image 9>?"}, "missing_image"),
    ({"question": "What?", "options": "['1', '2']", "answer": "A", "image_1": None, "image_2": None}, "no_image"),
)


@pytest.mark.parametrize(("changes", "reason"), BROKEN, ids=lambda value: str(value)[:40])
def test_a_row_that_cannot_be_used_says_why(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(BrokenRow) as caught:
        _item(**changes)
    assert caught.value.reason == reason
    assert caught.value.what


def test_accuracy_is_summed_up_by_subject_and_by_discipline() -> None:
    items = [_item(id=f"validation_{subject}_{n}") for subject in ("Art", "Art_Theory", "Math") for n in (1, 2)]
    answers = ["B", "B", "B", "C", "C", "C"]
    scored = [(item, MMMU().score(item, answer, None)) for item, answer in zip(items, answers, strict=True)]
    assert MMMU().summary(scored) == {
        "discipline/art_and_design": (0.75, 4),
        "discipline/science": (0.0, 2),
        "subject/Art": (1.0, 2),
        "subject/Art_Theory": (0.5, 2),
        "subject/Math": (0.0, 2),
    }


def test_there_are_thirty_subjects_in_six_disciplines_and_the_suite_names_all(request: pytest.FixtureRequest) -> None:
    import yaml

    suite = yaml.safe_load((request.config.rootpath / "conf" / "suite" / "mmmu.yaml").read_text())
    subjects = {subject for group in DISCIPLINES.values() for subject in group}
    assert len(DISCIPLINES) == 6
    assert len(subjects) == 30
    assert set(suite["configs"]) == subjects


def test_it_is_known_by_its_name() -> None:
    assert BENCHMARKS.get("mmmu") is MMMU
