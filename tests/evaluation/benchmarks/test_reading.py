"""Each benchmark's rows, from parquet with the real schema to items, prompts and verdicts; broken ones are counted."""

import pytest

from specs_lab.core.errors import UserError
from specs_lab.core.pictures import IMAGE_MARKER
from specs_lab.evaluation.benchmarks.base import BENCHMARKS
from specs_lab.evaluation.benchmarks.storing import item_json, item_of
from specs_lab.problems.instructions import INSTRUCTIONS
from specs_lab.problems.sources.procedural import ProceduralProblems
from specs_lab.problems.tasks import Cell

PROBLEMS = ProceduralProblems(
    families=["count"], ood_families=["clock"], instructions=["tags"], styles=["plain"], cells={"id": Cell()}
)
NAMES = ("mathvista", "mathverse", "mathvision", "we_math")
RIGHT = {
    "mathvista": ["3", "(B) light red", "1.25 cm", "1, 2"],
    "mathverse": ["B", "50\u00b0", "2\\sqrt{3}"],
    "mathvision": ["1/2", "C", "0.75"],
    "we_math": ["B", "B. 2 cm", "2 cm", "(B)", "b", "B.", "The answer is B."],
}


@pytest.mark.parametrize("name", NAMES)
def test_rows_become_tasks_with_pictures_and_are_graded(name, make_suite):
    suite = make_suite(name, with_id=False)
    tasks = suite.tasks(PROBLEMS)
    assert len(tasks) == len(RIGHT[name])
    assert suite.loaded().broken == {}
    for task in tasks:
        assert task.cell == name
        assert [image.mode for image in task.images] == ["RGB"]
        assert task.images[0].size == (40, 24)
        assert task.text.count(IMAGE_MARKER) in (0, 1)
        assert task.text.endswith(INSTRUCTIONS["tags"].text)
    texts = [f"<think> I look. </think> <answer> {answer} </answer>" for answer in RIGHT[name]]
    scores = suite.score(texts, tasks, None)
    assert [score.accuracy for score in scores] == [True] * len(tasks)
    assert all(score.format for score in scores)
    wrong = suite.score(["<answer> 987 </answer>"] * len(tasks), tasks, None)
    assert not any(score.accuracy or score.format for score in wrong)


@pytest.mark.parametrize("name", NAMES)
def test_an_item_survives_being_stored(name, make_suite):
    for item in make_suite(name).loaded().items:
        again = item_of(item_json(item))
        assert item_json(again) == item_json(item)
        assert (again.row.answer, again.row.choices, again.extra) == (item.row.answer, item.row.choices, item.extra)


def test_prompts_say_what_the_public_ones_say(make_suite):
    asked = {}
    for name in NAMES:
        suite = make_suite(name)
        asked[name] = [suite.made().ask(item) for item in suite.loaded().items]
    first, options, decimal, several = asked["mathvista"]
    assert first.startswith("Hint: Please answer the question requiring an integer answer")
    assert options == (
        "Hint: Please answer the question and provide the correct option letter, e.g., A, B, C, D, at the end.\n"
        "Question: Which bar is tallest?\nChoices:\n(A) red\n(B) light red\n(C) blue"
    )
    assert "with two decimal places" in decimal
    assert decimal.endswith("Question: How many bars are there? (Unit: cm)")
    assert "requiring a Python list" in several
    assert asked["mathverse"][0].endswith("D:70\u00b0")
    assert asked["mathverse"][1] == "Look and answer."
    assert "the final value, e.g., 1, 2.5, 300" in asked["mathverse"][2]
    assert asked["mathvision"][0].endswith(
        f"Which of the squares is largest?\n{IMAGE_MARKER}\n(A) 1\n(B) 2\n(C) \\frac{{1}}{{2}}\n(D) 4\n(E) 5"
    )
    assert asked["mathvision"][1].endswith(IMAGE_MARKER)  # its options are in the picture
    assert asked["mathvision"][2].endswith(f"{IMAGE_MARKER} How much of <image2>?")
    assert asked["we_math"][0].endswith("Option: A. 1 cm; B. 2 cm; C. 3 cm; D. No correct answer")


NO_PICTURE = {"decoded_image": None, "image": None}
BROKEN = {
    "mathvista": {
        "no_pid": {"pid": ""},
        "no_question": {"question": None},
        "no_answer": {"answer": None},
        "no_image": NO_PICTURE,
        "unreadable_image": {"decoded_image": {"bytes": b"no picture", "path": None}},
        "gold_no_option": {"question_type": "multi_choice", "choices": ["a", "b"], "answer": "c"},
        "unknown_type": {"question_type": "essay"},
        "bad_precision": {"answer_type": "float", "precision": None, "answer": "1.5"},
        "gold_not_read": {"answer": "three or four"},
        "duplicate_id": {"pid": "1"},
    },
    "mathverse": {
        "no_sample_index": {"sample_index": ""},
        "no_question": {"question": ""},
        "no_query_cot": {"problem_version": "Vision Only", "question": "", "query_cot": ""},
        "unknown_version": {"problem_version": "Text Rich"},
        "unknown_type": {"question_type": "open"},
        "gold_no_option": {"answer": "E"},
        "no_answer": {"answer": " "},
        "no_image": {"image": None},
        "unreadable_image": {"image": {"bytes": b"\x89PNG broken", "path": None}},
        "gold_not_read": {"question_type": "free-form", "answer": "\\boxed{}\u200b"},
        "duplicate_id": {"sample_index": "1"},
    },
    "mathvision": {
        "no_id": {"id": ""},
        "no_question": {"question": ""},
        "no_answer": {"answer": ""},
        "unknown_level": {"level": 9},
        "no_level": {"level": None},
        "no_subject": {"subject": ""},
        "gold_no_option": {"answer": "F"},
        "no_image": NO_PICTURE,
        "unreadable_image": {"decoded_image": {"bytes": b"GIF", "path": None}},
        "duplicate_id": {"id": "1"},
    },
    "we_math": {
        "no_ID": {"ID": ""},
        "no_key": {"key": ""},
        "unknown_key": {"key": "2steps_3"},
        "no_option": {"option": ""},
        "no_options": {"option": "yes or no"},
        "no_question": {"question": ""},
        "no_answer": {"answer": ""},
        "gold_no_option": {"answer": "E"},
        "no_image": {"image_path": None},
        "unreadable_image": {"image_path": {"bytes": b"text", "path": None}},
        "duplicate_id": {"ID": "1", "key": "2steps_1"},
    },
}


@pytest.mark.parametrize("name", NAMES)
def test_every_kind_of_broken_row_is_counted_by_its_reason(name, make_suite, benchmark_rows):
    def row(number, changes):
        if name == "we_math":
            return {**benchmark_rows[name](f"b{number}", "3steps_1"), **changes}
        return {**benchmark_rows[name](100 + number), **changes}

    sound = benchmark_rows["rows"][name]
    broken = [row(number, changes) for number, changes in enumerate(BROKEN[name].values())]
    loaded = make_suite(name, [*sound, *broken], max_broken=1.0).loaded()
    assert loaded.broken == dict.fromkeys(BROKEN[name], 1)
    assert len(loaded.items) == len(sound)
    assert loaded.rows == len(sound) + len(broken)
    for reason, texts in loaded.examples.items():
        assert len(texts) == 1, reason
    assert f"{len(sound)} of {loaded.rows} rows; broken: 1 " in loaded.told()


def test_a_picture_that_claims_to_be_huge_is_broken(make_suite, benchmark_rows):
    import io

    from PIL import Image

    buffer = io.BytesIO()
    Image.new("1", (8000, 8000)).save(buffer, "PNG")
    huge = benchmark_rows["mathvista"](9, decoded_image={"bytes": buffer.getvalue(), "path": None})
    loaded = make_suite("mathvista", [*benchmark_rows["rows"]["mathvista"], huge], max_broken=0.5).loaded()
    assert loaded.broken == {"unreadable_image": 1}


def test_too_many_broken_rows_are_an_error_with_counts_and_an_example(make_suite, benchmark_rows):
    rows = [*benchmark_rows["rows"]["mathvista"], benchmark_rows["mathvista"](9, answer=None)]
    with pytest.raises(UserError, match=r"4 of 5 rows; broken: 1 no_answer.*max_broken|1 no_answer") as error:
        make_suite("mathvista", rows).loaded()
    assert "row 4: has no answer" in str(error.value)
    assert "suite.max_broken" in str(error.value)


def test_another_dataset_is_an_error(make_suite, write_benchmark):
    suite = make_suite("we_math", max_broken=1.0)
    suite.path = str(write_benchmark("mathvista"))
    with pytest.raises(UserError, match="no row is left"):
        suite.loaded()


def test_all_benchmarks_are_known():
    assert set(NAMES) <= set(BENCHMARKS.names())
    for name in BENCHMARKS:
        assert BENCHMARKS.get(name).name == name


def test_cells_are_the_benchmark_and_problems_held_out(make_suite):
    suite = make_suite("mathvista")
    assert (suite.cells, suite.gf_id, suite.gf_ood) == (["id", "mathvista"], "id", "mathvista")
    tasks = suite.tasks(PROBLEMS)
    assert [task.cell for task in tasks] == ["id", "id", *["mathvista"] * 4]
    assert [task.cell for task in suite.graded(tasks)] == ["id", "id"]
    scores = suite.score([f"<answer> {task.problem.answer} </answer>" for task in tasks], tasks, None)
    assert all(score.accuracy for score in scores)
    alone = make_suite("mathvista", with_id=False)
    assert (alone.cells, alone.gf_id) == (["mathvista"], "mathvista")
