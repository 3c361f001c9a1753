"""Cells of distribution shift: what they draw from, and that a mistake in them is found before any work."""

from collections import Counter
from dataclasses import replace

import pytest

from specs_lab.core.options import InvalidOption
from specs_lab.problems.base import make_problem
from specs_lab.problems.instructions import INSTRUCTIONS
from specs_lab.problems.sources.procedural import ProceduralProblems
from specs_lab.problems.tasks import Cell

CELLS = {
    "id": Cell(),
    "ood_family": Cell(family="ood"),
    "ood_instruction": Cell(instruction="ood"),
    "ood_style": Cell(style="ood"),
    "ood": Cell(family="ood", instruction="ood", style="ood"),
    "alternative": Cell(instruction="alternative"),
}


def options(**changes: object) -> ProceduralProblems:
    settings = {
        "families": ["count", "bar_sum", "digits"],
        "ood_families": ["clock", "arrow"],
        "instructions": ["tags"],
        "ood_instructions": ["then_result", "template"],
        "alternative_instructions": ["alternative"],
        "styles": ["plain"],
        "ood_styles": ["chalkboard", "newsprint"],
        "cells": dict(CELLS),
    }
    return ProceduralProblems(**{**settings, **changes})  # pyright: ignore[reportArgumentType]


def faults_of(**changes: object) -> set[str]:
    with pytest.raises(InvalidOption) as error:
        options(**changes)
    return {fault.where for fault in error.value.faults}


@pytest.mark.parametrize("cell", CELLS)
def test_a_cell_draws_from_its_side_of_every_axis_and_from_all_of_it(cell: str):
    problems = options()
    tasks = [problems.draw_task(cell, "train", "test", index) for index in range(60)]
    axes = problems.axes(CELLS[cell])
    assert {task.problem.family for task in tasks} == set(axes["family"])
    assert {task.problem.style for task in tasks} == set(axes["style"])
    assert {task.instruction.name for task in tasks} == set(axes["instruction"])
    assert all(task.cell == cell for task in tasks)


def test_the_axes_of_a_cell_are_independent():
    axes = options().axes(Cell(family="ood", style="ood"))
    assert axes == {"family": ["clock", "arrow"], "instruction": ["tags"], "style": ["chalkboard", "newsprint"]}


@pytest.mark.parametrize("count", [3, 7, 30])
def test_families_take_turns(count: int):
    """Every prefix of the stream is balanced: no family leads by more than one."""
    tally = Counter(options().draw_task("id", "id", "test", index).problem.family for index in range(count))
    assert max(tally.values()) - min(tally.values()) <= 1


def test_a_task_depends_on_its_name_only():
    draws = [(cell, index) for cell in ("id", "ood") for index in range(5)]
    forwards = {draw: options().draw_task(draw[0], "train", "test", draw[1]) for draw in draws}
    for cell, index in reversed(draws):
        again, before = options().draw_task(cell, "train", "test", index), forwards[cell, index]
        assert (again.id, again.text) == (before.id, before.text)
        assert again.problem.image.tobytes() == before.problem.image.tobytes()


def test_streams_splits_and_seeds_give_other_tasks():
    base = options().draw_task("id", "train", "a", 0)
    others = [
        options().draw_task("id", "train", "b", 0),
        options().draw_task("id", "id", "a", 0),
        options(seed=1).draw_task("id", "train", "a", 0),
        options().draw_task("id", "train", "a", 3),
    ]
    assert len({base.id, *(task.id for task in others)}) == 5
    assert all(task.problem.family == base.problem.family for task in others)


def test_cells_that_are_not_drawn_from_change_nothing():
    alone = options(cells={"id": Cell()})
    assert alone.draw_task("id", "train", "test", 4).id == options().draw_task("id", "train", "test", 4).id


def test_a_task_asks_its_question_under_its_instruction():
    task = options().draw_task("alternative", "ood", "test", 1)
    family, split, seed, index, style, instruction = task.id.split("/")
    problem = make_problem(family, seed=int(seed), index=int(index), split="ood", style=style)
    assert (split, instruction) == ("ood", "alternative")
    assert task.text == f"{problem.question} {INSTRUCTIONS[instruction].text}"
    assert task.instruction.format == "steps_final"
    assert INSTRUCTIONS["bare"].ask("Why?") == "Why?"


def test_task_ids_are_unique():
    tasks = [options().draw_task(cell, "ood", "evaluate", index) for cell in CELLS for index in range(40)]
    assert len({task.id for task in tasks}) == len(tasks)


def test_all_faults_are_reported_together():
    found = faults_of(
        families=["cuont"],
        styles=[],
        ood_instructions=["tags"],
        alternative_instructions=["nonsense"],
        ood_styles=[],
        cells={"a": Cell(family="elsewhere"), "b": replace(CELLS["ood"], instruction="x"), "c": Cell(style="ood")},
    )
    assert found == {
        "families",
        "styles",
        "ood_instructions",
        "alternative_instructions",
        "cells.a.family",
        "cells.a.style",
        "cells.b.instruction",
        "cells.b.style",
        "cells.c.style",
    }


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"families": []}, "families"),
        ({"families": ["clock"]}, "ood_families"),
        ({"ood_families": ["watch"]}, "ood_families"),
        ({"ood_styles": ["plain"]}, "ood_styles"),
        ({"instructions": ["tag"]}, "instructions"),
        ({"alternative_instructions": []}, "cells.alternative.instruction"),
        ({"cells": {"x": Cell(instruction="other")}}, "cells.x.instruction"),
    ],
)
def test_each_fault_names_its_place(changes: dict[str, object], where: str):
    assert where in faults_of(**changes)


def test_an_ood_axis_may_stay_empty_when_no_cell_needs_it():
    assert options(ood_families=[], cells={"id": Cell()}).ood_families == []
