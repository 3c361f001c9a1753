"""Lists of tasks: what is written is what is read, and a task is drawn again from its name alone."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from specs_lab.core.errors import UserError
from specs_lab.data.task_lists import read_tasks, write_tasks
from specs_lab.problems.base import FAMILIES
from specs_lab.problems.instructions import INSTRUCTIONS
from specs_lab.problems.sources.procedural import ProceduralProblems
from specs_lab.problems.styles import STYLES
from specs_lab.problems.tasks import Cell, Task, TaskRef

_STYLES, _WORDINGS, _FAMILIES = list(STYLES), list(INSTRUCTIONS), FAMILIES.names()
PROBLEMS = ProceduralProblems(
    families=_FAMILIES[::2],
    ood_families=_FAMILIES[1::2],
    instructions=_WORDINGS[::2],
    ood_instructions=_WORDINGS[1::2],
    styles=_STYLES[::2],
    ood_styles=_STYLES[1::2],
    cells={"id": Cell(), "ood": Cell(family="ood", instruction="ood", style="ood")},
    seed=3,
)


def _refs(tasks: list[Task], *buckets: str) -> list[TaskRef]:
    return [TaskRef(task.id, task.cell, buckets[i % len(buckets)]) for i, task in enumerate(tasks)]


@pytest.fixture
def tasks() -> list[Task]:
    return [PROBLEMS.draw_mixed(["id", "ood"], "test", index) for index in range(6)]


@given(st.sampled_from(["id", "ood"]), st.sampled_from(["train", "id"]), st.text(max_size=5), st.integers(0, 10**6))
def test_a_task_is_drawn_again_from_its_name(cell, split, stream, index):
    task = PROBLEMS.draw_task(cell, split, stream, index)
    again = PROBLEMS.redraw(TaskRef(task.id, task.cell))
    assert again == task
    assert again.problem.image.tobytes() == task.problem.image.tobytes()


@pytest.mark.parametrize("family", _FAMILIES)
def test_tasks_of_every_family_are_drawn_again(family):
    problems = ProceduralProblems(families=[family], instructions=_WORDINGS, styles=_STYLES, cells={"id": Cell()})
    for index in range(5):
        task = problems.draw_task("id", "train", "test", index)
        assert PROBLEMS.redraw(TaskRef(task.id, "id", "hard")) == task


@pytest.mark.parametrize(
    "name",
    [
        "",
        "row/3",
        "count/train/1/2/plain",
        "count/train/1/2/plain/tags/more",
        "count/train/one/2/plain/tags",
        "count/trane/1/2/plain/tags",
        "count/train/1/2/plane/tags",
        "count/train/1/2/plain/tagz",
    ],
)
def test_what_is_no_name_of_a_task_is_refused(name):
    with pytest.raises(ValueError):  # noqa: PT011  (of several causes)
        PROBLEMS.redraw(TaskRef(name, "id"))


def test_an_unknown_family_is_a_user_error():
    with pytest.raises(UserError, match="did you mean 'count'"):
        PROBLEMS.redraw(TaskRef("cuont/train/1/2/plain/tags", "id"))


def test_tasks_come_back_as_they_were_in_order(tasks, tmp_path):
    write_tasks(tmp_path, _refs(tasks, "easy"))
    assert read_tasks(tmp_path, PROBLEMS) == tasks


def test_only_tasks_of_the_buckets_are_read(tasks, tmp_path):
    write_tasks(tmp_path, _refs(tasks, "easy", "hard", "unsolved"))
    assert read_tasks(tmp_path, PROBLEMS, ["hard"]) == [tasks[1], tasks[4]]
    assert read_tasks(tmp_path, PROBLEMS, ["unsolved", "easy"]) == [tasks[i] for i in (0, 2, 3, 5)]


def test_the_list_is_plain_data(tasks, tmp_path):
    write_tasks(tmp_path, _refs(tasks[:1], "easy"))
    (file,) = tmp_path.iterdir()
    assert json.loads(file.read_text()) == {"tasks": [{"id": tasks[0].id, "cell": tasks[0].cell, "bucket": "easy"}]}


def test_empty_buckets_are_a_user_error_that_says_what_there_is(tasks, tmp_path):
    write_tasks(tmp_path, _refs(tasks, "easy"))
    with pytest.raises(UserError, match=r"no task is in hard or medium; there are \{'easy': 6\}"):
        read_tasks(tmp_path, PROBLEMS, ["hard", "medium"])
    write_tasks(tmp_path, [])
    with pytest.raises(UserError, match="no task is in it"):
        read_tasks(tmp_path, PROBLEMS)


def test_a_folder_without_a_list_is_a_user_error(tmp_path):
    with pytest.raises(UserError, match="there is no list of tasks"):
        read_tasks(tmp_path, PROBLEMS)
