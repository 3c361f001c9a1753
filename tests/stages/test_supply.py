"""A study that would ask for problems that are not there is stopped before its first stage."""

from dataclasses import dataclass, field

import pytest

from specs_lab.core.errors import UserError
from specs_lab.core.progress import Progress
from specs_lab.problems.sources.procedural import ProceduralProblems
from specs_lab.problems.tasks import Cell
from specs_lab.stages.graph import PlannedStage
from specs_lab.stages.supply import require_problems


class Counted(ProceduralProblems):
    """Has problems in distribution only."""

    prepared = 0

    def prepare(self, progress):
        self.prepared += 1

    def size(self, cell, split):
        return 0 if cell == "ood" else 5


@dataclass
class Mixed:
    mixture: list[str]


@dataclass
class Celled:
    cells: list[str] = field(default_factory=lambda: ["id", "ood", "mathvista"])


def stage(problems, inputs=(), **options) -> PlannedStage:
    named = {"problems": problems, **options}
    return PlannedStage(name="s", kind="rl", key="k", inputs=dict.fromkeys(inputs, "x"), options=named, seed=0)


def source(kind=Counted):
    cells = {"id": Cell(), "ood": Cell(family="ood")}
    return kind(families=["count"], ood_families=["add"], instructions=["tags"], styles=["plain"], cells=cells)


def test_every_empty_cell_is_named_once_with_its_split():
    problems = source()
    stages = [
        stage(problems, rl=Mixed(["id", "ood"])),
        stage(problems, suite=Celled()),
        stage(problems, suite=Celled()),
    ]
    with pytest.raises(UserError) as found:
        require_problems(stages, Progress())
    assert [(fault.where, fault.what.split("split ")[1]) for fault in found.value.faults] == [
        ("rl.mixture: cell 'ood'", "'train'"),
        ("suite.cells: cell 'ood'", "'ood'"),
    ]
    assert problems.prepared == 3


def test_a_list_of_tasks_stands_for_the_mixture():
    require_problems([stage(source(), ["tasks"], rl=Mixed(["ood"]))], Progress())


def test_endless_sources_are_never_short():
    require_problems([stage(source(ProceduralProblems), rl=Mixed(["id", "ood"]), suite=Celled())], Progress())
