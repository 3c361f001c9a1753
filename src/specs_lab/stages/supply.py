"""Whether there are problems for all that a study is going to ask, found before its first stage is made."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from specs_lab.core.errors import Fault, raise_faults
from specs_lab.core.progress import Progress
from specs_lab.problems.base import Split
from specs_lab.problems.tasks import ProblemSource
from specs_lab.stages.graph import PlannedStage

_TRAINED = ("rl", "data", "select")
_MEASURED = ("suite", "exploration")
_FIX = "leave the cell out, or have other families on each side: `specs-lab inspect` shows which there are"


def require_problems(stages: Iterable[PlannedStage], progress: Progress) -> None:
    """Prepares the problems of stages, and checks that no cell which they name is empty.

    Args:
        stages: Those that are to be made.
        progress: Where preparing is shown.

    Raises:
        UserError: Naming every cell that has no problem in the split that is drawn from.
    """
    faults: list[Fault] = []
    for stage in stages:
        source = stage.options.get("problems")
        if isinstance(source, ProblemSource):
            source.prepare(progress)
            faults += [
                Fault(f"{role}: cell '{cell}'", f"there is no problem of it in the split '{split}'", _FIX)
                for role, cell, split in _asked(stage, source)
                if source.size(cell, split) == 0
            ]
    raise_faults(list(dict.fromkeys(faults)))


def _asked(stage: PlannedStage, source: ProblemSource) -> Iterator[tuple[str, str, Split]]:
    """(role, cell, split) of all that a stage draws."""
    for role in _TRAINED:
        given = "tasks" in stage.inputs  # a list of tasks is drawn from instead
        for cell in () if given else _names(stage.options.get(role), "mixture"):
            yield f"{role}.mixture", cell, "train"
    for role in _MEASURED:
        option = stage.options.get(role)
        for cell in _names(option, "cells"):
            if cell in source.cells:
                yield f"{role}.cells", cell, source.evaluation_split(cell)


def _names(option: Any, name: str) -> list[str]:
    return list(getattr(option, name, ()))
