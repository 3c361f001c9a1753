"""Problems of datasets: cells, orders, splits, limits, the index on disk, and what names their content."""

import json
import pickle
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from specs_lab.core.errors import UserError
from specs_lab.core.options import InvalidOption
from specs_lab.core.progress import Progress
from specs_lab.problems import index as indices
from specs_lab.problems.base import SPLITS
from specs_lab.problems.instructions import INSTRUCTIONS
from specs_lab.problems.sources.dataset import DatasetProblems
from specs_lab.problems.tasks import Cell, TaskRef

CELLS = {
    "id": Cell(),
    "ood_family": Cell(family="ood"),
    "ood_instruction": Cell(instruction="ood"),
    "ood_style": Cell(style="ood"),
    "alternative": Cell(instruction="alternative"),
}


@pytest.fixture(autouse=True)
def nothing_open():
    """Every test opens its indices itself."""
    indices.open_index.cache_clear()


@pytest.fixture
def table(tmp_path: Path, png):
    """Writes a table of one's own: ``table(count, **changes)``, one picture a row unless told otherwise."""

    def write(count: int, name: str = "train", **changes) -> Path:
        folder = tmp_path / "data"
        (folder / "pictures").mkdir(parents=True, exist_ok=True)
        rows = []
        for number in range(count):
            picture = f"pictures/{name}-{number}.png"
            salt = number + 1000 * len(name)
            (folder / picture).write_bytes(png(salt, (40 + salt % 300, 40)))
            family = ("angle", "area", "chart")[number % 3]
            row = {"id": f"{name}/{number}", "question": "How long?", "answer": str(number), "images": [picture]}
            made = {name: change(number) for name, change in changes.items()}
            rows.append({**row, "family": family, **made})
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        return folder

    return write


def options(folder: Path, **changes) -> DatasetProblems:
    settings = {
        "path": str(folder),
        "instructions": ["r1"],
        "ood_instructions": ["in_words", "r1_first_then"],
        "alternative_instructions": ["boxed"],
        "ood_styles": ["faded", "dim", "compressed"],
        "ood_families": ["*CHART*"],
        "cells": CELLS,
    }
    return DatasetProblems(**{**settings, **changes})


# --- drawing ---


def test_a_cell_draws_from_its_side_of_every_axis(table):
    problems = options(table(120))
    for name, cell in CELLS.items():
        tasks = [problems.draw_task(name, "train", "test", i) for i in range(60)]
        families = {"chart"} if cell.family == "ood" else {"angle", "area"}
        assert {task.problem.family for task in tasks} == families
        assert {task.problem.style for task in tasks} == set(problems.axes(cell)["style"])
        assert {task.instruction.name for task in tasks} == set(problems.axes(cell)["instruction"])
        assert {task.cell for task in tasks} == {name}


def test_every_problem_comes_once_before_any_comes_again_and_families_take_turns(table):
    problems = options(table(90))
    size = problems.size("id", "train")
    first, second = (
        [problems.draw_task("id", "train", "test", i).problem.id for i in range(size * k, size * k + size)]
        for k in range(2)
    )
    assert len(set(first)) == size
    assert set(first) == set(second)
    assert first != second
    drawn = Counter(problems.draw_task("id", "train", "test", i).problem.family for i in range(20))
    assert set(drawn.values()) == {10}


def test_a_draw_depends_on_its_arguments_only(table):
    folder = table(60)
    one, other = options(folder), options(folder)
    draws = [(cell, i) for cell in ("id", "ood_style") for i in range(8)]
    forwards = {draw: one.draw_task(draw[0], "train", "test", draw[1]) for draw in draws}
    for cell, i in reversed(draws):
        again, before = other.draw_task(cell, "train", "test", i), forwards[cell, i]
        assert (again.id, again.text) == (before.id, before.text)
        assert [image.tobytes() for image in again.images] == [image.tobytes() for image in before.images]


def test_streams_cells_and_seeds_give_other_orders(table):
    folder = table(90)

    def order(problems, cell="id", stream="a"):
        return [problems.draw_task(cell, "train", stream, i).problem.id.rsplit("/", 1)[0] for i in range(40)]

    orders = [
        order(options(folder)),
        order(options(folder), stream="b"),
        order(options(folder), cell="ood_instruction"),
        order(options(folder, seed=1)),
    ]
    assert len({tuple(one) for one in orders}) == 4


def test_a_task_is_drawn_again_from_its_name(table):
    problems = options(table(30))
    for cell in CELLS:
        task = problems.draw_task(cell, "train", "test", 0)
        again = problems.redraw(TaskRef(task.id, cell))
        assert (again.id, again.cell, again.text) == (task.id, task.cell, task.text)
        assert [image.tobytes() for image in again.images] == [image.tobytes() for image in task.images]


@pytest.mark.parametrize("name", ["", "x", "columns/train/train/0", "columns/train/train/0/plain/none", "a/b/c/d"])
def test_what_is_no_name_of_a_task_is_refused(table, name: str):
    with pytest.raises(ValueError, match="no name of a task"):
        options(table(9)).redraw(TaskRef(name, "id"))


def test_a_style_changes_the_look_and_nothing_else(table):
    problems = options(table(9))
    entry = problems.index.entries[0]
    looks = {style: problems.redraw(TaskRef(f"{entry.id}/{style}/r1", "id")) for style in ("plain", "faded", "dim")}
    assert len({task.images[0].tobytes() for task in looks.values()}) == 3
    assert len({(task.images[0].size, task.text, task.problem.answer) for task in looks.values()}) == 1


def test_a_boxed_instruction_asks_for_a_box(table):
    task = options(table(9)).draw_task("alternative", "train", "test", 0)
    assert task.instruction.format == "think_boxed"
    assert task.text == f"How long? {INSTRUCTIONS['boxed'].text}"


def test_a_cell_without_problems_says_which_families_there_are(table):
    problems = options(table(9), ood_families=["none such"])
    assert problems.size("ood_family", "train") == 0
    with pytest.raises(UserError, match="choose among its families: angle, area, chart"):
        problems.draw_task("ood_family", "train", "test", 0)


def test_a_row_without_family_is_of_that_of_its_answer(table):
    folder = table(6, family=lambda _: None, answer=lambda i: ["blue", "2.5"][i % 2])
    assert {entry.family for entry in options(folder).index.entries} == {"word", "number"}


def test_options_go_to_another_process_without_the_data(table):
    problems = options(table(9))
    task = problems.draw_task("id", "train", "test", 0)
    again = pickle.loads(pickle.dumps(problems))
    assert again == problems
    assert "index" not in vars(again)
    assert again.draw_task("id", "train", "test", 0).id == task.id


# --- splits ---


def test_splits_share_no_picture_and_no_question(table):
    folder = table(300, images=lambda i: [f"pictures/train-{i // 2}.png", f"pictures/train-{i // 3}.png"])
    problems = options(folder)
    pictures: dict[str, set[str]] = {}
    for entry in problems.index.entries:
        pictures.setdefault(entry.split, set()).update(problems.index.row(entry).images)
    for one in pictures:
        assert not any(pictures[one] & pictures[other] for other in pictures if other != one)
    texts = table(200, "words", images=lambda _: [], question=lambda i: f"What is {i // 4} times 2?")
    split_of: dict[str, set[str]] = {}
    words = options(texts / "words.jsonl")
    for entry in words.index.entries:
        split_of.setdefault(words.index.row(entry).question, set()).add(entry.split)
    assert {len(found) for found in split_of.values()} == {1}
    assert {split for found in split_of.values() for split in found} == set(SPLITS)


def test_a_dataset_s_own_splits_are_kept_and_what_is_in_training_is_not_measured(table):
    folder = table(30)
    table(20, "validation", images=lambda i: ["pictures/train-3.png"] if i == 4 else [f"pictures/validation-{i}.png"])
    table(10, "test")
    problems = options(folder, splits={"train": "train", "id": "validation", "ood": "test"})
    sizes = Counter(entry.split for entry in problems.index.entries)
    assert sizes == {"train": 30, "id": 19, "ood": 10}
    assert problems.index.counts.broken == {"seen_in_another_split": 1}
    assert all(
        entry.table == {"train": "train", "id": "validation", "ood": "test"}[entry.split]
        for entry in problems.index.entries
    )
    assert problems.evaluation_split("id") == "id"
    assert problems.evaluation_split("ood_family") == "ood"


# --- what is left out ---


@pytest.mark.parametrize(
    ("changes", "reason", "left"),
    [
        ({"max_pixels_total": 14_000}, "too_many_pixels", range(9, 12)),
        ({"max_question_characters": 20}, "too_long", range(0, 12, 4)),
        ({"max_images": 1}, "too_many_images", range(0, 12, 6)),
        ({"min_side": 41}, "too_small", range(12)),
    ],
)
def test_rows_over_a_limit_are_counted(table, changes: dict, reason: str, left: range):
    folder = table(
        12,
        images=lambda i: ["pictures/train-0.png"] * (2 if i % 6 == 0 else 1) if i < 9 else ["pictures/train-299.png"],
        question=lambda i: "How long is this thing?" if i % 4 == 0 else "How long?",
    )
    (folder / "pictures/train-299.png").write_bytes((folder / "pictures/train-11.png").read_bytes())
    if reason == "too_many_pixels":
        from PIL import Image

        Image.new("RGB", (400, 40)).save(folder / "pictures/train-299.png")
        Image.new("RGB", (60, 40)).save(folder / "pictures/train-0.png")
    if len(left) == 12:
        with pytest.raises(UserError, match="none of its 12 rows can be used \\(too_small: 12\\)"):
            _ = options(folder, **changes).index
        return
    counts = options(folder, **changes).index.counts
    assert counts.broken == {reason: len(left)}
    assert counts.examples[reason].startswith(f"row {left[0]} of train: ")


def test_a_picture_that_breaks_off_is_found_before_it_is_drawn(table):
    folder = table(6)
    whole = (folder / "pictures/train-2.png").read_bytes()
    (folder / "pictures/train-2.png").write_bytes(whole[:-30])
    assert options(folder).index.counts.broken == {"unreadable_image": 1}
    assert options(folder, decode_all=False).index.counts.broken == {}


@pytest.mark.parametrize("streaming", [False, True])
def test_a_limit_counts_usable_rows(table, streaming: bool):
    folder = table(30, answer=lambda i: "" if i % 2 else str(i))
    problems = options(folder, limit=5, streaming=streaming)
    assert [entry.number for entry in problems.index.entries] == [0, 2, 4, 6, 8]
    assert problems.index.counts.broken == {"no_answer": 4}


# --- the index on disk ---


def test_the_index_is_made_once(table, own_store: Path, monkeypatch: pytest.MonkeyPatch):
    folder = table(12)
    events = []
    options(folder).prepare(Progress(events.append))
    assert events[0] == {"event": "start", "task": f"reading {folder} (train)", "total": 12}
    assert sum(event["event"] == "advance" for event in events) == 12
    expected = [entry.id for entry in options(folder).index.entries]
    indices.open_index.cache_clear()

    def fail(*_):
        raise AssertionError("the rows are read again")

    monkeypatch.setattr(indices, "build", fail)
    assert [entry.id for entry in options(folder).index.entries] == expected
    with pytest.raises(AssertionError, match="read again"):
        _ = options(folder, min_side=2).index
    assert not list((own_store / "problems").glob(".making-*"))


def test_other_data_have_another_index(table):
    folder = table(12)
    first = options(folder)
    assert first.index.counts.rows == 12
    table(15)
    second = options(folder)
    assert second.identity() != first.identity() or first.spec() == second.spec()
    assert second.index.counts.rows == 15


@pytest.mark.parametrize("damage", ["facts.json", "rows.parquet", "cut", "streamed"])
def test_an_index_that_is_not_whole_is_made_again(table, own_store: Path, damage: str):
    folder = table(12)
    problems = options(folder, streaming=damage == "streamed", limit=12)
    expected = [entry.id for entry in problems.index.entries]
    (kept,) = [path for path in (own_store / "problems").iterdir() if path.is_dir()]
    if damage == "cut":
        facts = json.loads((kept / "facts.json").read_text())
        (kept / "facts.json").write_text(json.dumps({**facts, "kept": 99}))
    elif damage == "streamed":
        next(kept.glob("*/state.json")).unlink()
    else:
        (kept / damage).write_bytes((kept / damage).read_bytes()[:20])
    indices.open_index.cache_clear()
    again = options(folder, streaming=damage == "streamed", limit=12)
    assert [entry.id for entry in again.index.entries] == expected
    assert again.draw_task("id", "train", "test", 0).id


# --- what names the content, and faults ---


def test_a_copy_of_the_data_has_the_same_identity(table, tmp_path: Path):
    import shutil

    folder = table(6)
    shutil.copytree(folder, tmp_path / "copy")
    one = options(folder).identity()
    assert options(tmp_path / "copy").identity() == one
    (tmp_path / "copy/pictures/train-0.png").unlink()
    assert options(tmp_path / "copy").identity() != one
    table(7)
    assert options(folder).identity() != one


def test_a_dataset_of_the_hub_is_named_by_its_commit(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    from huggingface_hub import constants

    commit = "89abcdef" * 5
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    refs = tmp_path / "hub/datasets--owner--cached/refs"
    refs.mkdir(parents=True)
    (refs / "main").write_text(commit)
    assert DatasetProblems(repo="owner/cached").identity() == {"commit": commit}
    assert DatasetProblems(repo="owner/any", revision="0" * 40).identity() == {"commit": "0" * 40}
    with pytest.raises(UserError, match="hub cannot be reached"):
        DatasetProblems(repo="owner/absent").identity()


def test_all_faults_of_the_options_are_found_together(table):
    with pytest.raises(InvalidOption) as error:
        DatasetProblems(
            reader="nobody",
            path="/no/such/folder",
            splits={"valid": "train"},
            columns={"colour": "x"},
            streaming=True,
            max_images=0,
            instructions=["shout"],
            ood_styles=["plain"],
            cells={"id": Cell(), "bad": Cell(family="elsewhere"), "ood": Cell(family="ood")},
        )
    found = {fault.where for fault in error.value.faults}
    assert found >= {"reader", "path", "splits", "columns", "limit", "max_images", "instructions", "ood_styles"}
    assert found >= {"cells.bad.family", "cells.ood.family"}
    with pytest.raises(InvalidOption, match="name a folder"):
        DatasetProblems()
    with pytest.raises(InvalidOption, match="archives"):
        DatasetProblems(repo="owner/name", archives=["images.zip"], streaming=True, limit=3)


def test_checking_options_reads_no_data(tmp_path: Path, own_store: Path):
    (tmp_path / "train.parquet").write_bytes(b"broken")
    problems = options(tmp_path / "train.parquet")
    assert replace(problems, seed=1).seed == 1
    assert not own_store.exists()
    with pytest.raises(UserError, match="cannot be read"):
        problems.size("id", "train")
