"""The suite that generalisation is measured on: sampled responses on every cell of shift."""

from __future__ import annotations

from dataclasses import dataclass

from specs_lab.core.options import option
from specs_lab.evaluation.suites.base import Suite, held_out
from specs_lab.problems.tasks import ProblemSource, Task


@option("suite", "cells")
@dataclass(kw_only=True)
class CellsSuite(Suite):
    """Sampled evaluation of cells of the study's problems.

    A number of problems that is a multiple of the number of families weights them equally.
    """

    def tasks(self, problems: ProblemSource) -> list[Task]:
        """``n`` held-out tasks of every cell."""
        return held_out(problems, self.cells, self.n)
