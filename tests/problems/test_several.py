"""Several sources as one: what is drawn is what a part would draw, as often as its weight says."""

import pickle
from collections import Counter

import pytest

from specs_lab.core.options import InvalidOption
from specs_lab.problems.sources.procedural import ProceduralProblems
from specs_lab.problems.sources.several import SeveralProblems
from specs_lab.problems.tasks import Cell, ProblemSource, TaskRef


class Few(ProceduralProblems):
    """Has a number of problems, like a dataset."""

    count = 30

    def size(self, cell, split):
        return self.count

    def identity(self):
        return {"commit": "abc"}


def part(family: str, kind=ProceduralProblems, **cells) -> ProblemSource:
    return kind(families=[family], instructions=["tags"], styles=["plain"], cells={"id": Cell(), **cells})


def several(**options) -> SeveralProblems:
    return SeveralProblems(parts={"a": part("count"), "b": part("digits")}, **options)


def test_a_task_is_one_of_its_part_under_another_name():
    problems, drawn = several(), Counter()
    for index in range(20):
        task = problems.draw_task("id", "train", "test", index)
        name, _, rest = task.id.partition(":")
        own = problems.parts[name].draw_task("id", "train", "test", drawn[name])
        drawn[name] += 1
        assert (rest, task.text, task.problem.answer) == (own.id, own.text, own.problem.answer)
        assert task.problem.id == f"{name}:{own.problem.id}"
        assert problems.redraw(TaskRef(task.id, "id")) == task


@pytest.mark.parametrize("name", ["count/train/1/2/plain/tags", "c:count/train/1/2/plain/tags", "a:nothing"])
def test_what_is_no_name_of_a_task_is_refused(name):
    with pytest.raises(ValueError, match="is no name of a task"):
        several().redraw(TaskRef(name, "id"))


def test_parts_are_drawn_as_often_as_their_weights_say():
    def shares(problems: SeveralProblems) -> Counter[str]:
        drawn = (problems.draw_task("id", "train", "test", index).id for index in range(400))
        return Counter(name.partition(":")[0] for name in drawn)

    assert 280 <= shares(several(weights={"a": 3, "b": 1}))["a"] <= 320
    by_size = SeveralProblems(parts={"a": part("count", Few), "b": part("digits", Few)})
    by_size.parts["b"].count = 90
    assert 80 <= shares(by_size)["a"] <= 120


@pytest.mark.parametrize(("weights", "split"), [({}, "train"), ({}, "id"), ({"a": 9, "b": 1}, "id")])
def test_every_problem_of_all_parts_comes_once_before_any_comes_again(weights, split):
    problems = SeveralProblems(parts={"a": part("count", Few), "b": part("digits", Few)}, weights=weights)
    problems.parts["b"].count = 90
    drawn = [problems.draw_task("id", split, "test", index).id for index in range(240)]
    own = [Counter(name[0] for name in drawn[start : start + 120]) for start in (0, 120)]
    assert own == [{"a": 30, "b": 90}, {"a": 30, "b": 90}]
    assert len(set(drawn)) == 240  # of a part that counts its tasks: none was skipped or asked for twice
    assert drawn[7] == SeveralProblems(parts=problems.parts, weights=weights).draw_task("id", split, "test", 7).id


def test_a_mixture_can_be_sent_to_another_process():
    problems = SeveralProblems(parts={"a": part("count", Few), "b": part("digits", Few)})
    drawn = problems.draw_task("id", "train", "test", 3).id
    assert pickle.loads(pickle.dumps(problems)).draw_task("id", "train", "test", 3).id == drawn


def test_it_has_as_many_problems_as_its_parts_and_the_cells_that_all_have():
    few, endless = part("count", Few, ood=Cell(instruction="id", family="id")), part("digits")
    both = SeveralProblems(parts={"a": few, "b": endless})
    assert list(both.cells) == ["id"]
    assert both.size("id", "train") is None
    assert both.identity() == {"a": {"commit": "abc"}, "b": None}
    assert SeveralProblems(parts={"a": few, "b": part("digits", Few)}).size("id", "train") == 60


def test_parts_are_prepared():
    told = []

    class Slow(ProceduralProblems):
        def prepare(self, progress):
            told.append(self.families)

    SeveralProblems(parts={"a": part("count", Slow), "b": part("digits", Slow)}).prepare(None)
    assert told == [["count"], ["digits"]]


def test_all_faults_are_found():
    with pytest.raises(InvalidOption, match="is empty"):
        SeveralProblems()
    other = ProceduralProblems(families=["count"], instructions=["tags"], styles=["plain"], cells={"other": Cell()})
    with pytest.raises(InvalidOption) as found:
        SeveralProblems(parts={"a:b": part("count"), "c": other}, weights={"c": 0, "d": 1})
    text = str(found.value)
    for said in (
        "must not hold ':'",
        "0 is not positive",
        "there is no 'd'",
        "there is none for a:b",
        "no cell in common",
    ):
        assert said in text
