"""What a suite is: which tasks are asked, how responses are drawn and scored."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from specs_lab.core.options import Checks
from specs_lab.problems.base import Split
from specs_lab.problems.scoring import assessor
from specs_lab.problems.tasks import ProblemSource, Task
from specs_lab.rewards.judge import Judge
from specs_lab.rewards.scoring import Score

if TYPE_CHECKING:
    from specs_lab.evaluation.runner import Sample


@dataclass(kw_only=True)
class Suite(ABC):
    """What is measured; the base class of all options of the group ``suite``.

    Attributes:
        cells: Names of what is measured apart.
        n: Problems of the study's own source in each of its cells.
        temperature: Of sampling; 0 is greedy, which hides the mixture of formats.
        max_new_tokens: Longest response.
        gf_id: The cell that stands for in-distribution in the Generalization Factor.
        gf_ood: The cell that stands for out-of-distribution.
        gf_beta: The factor's beta.
    """

    cells: list[str] = field(default_factory=list)
    n: int = 126
    temperature: float = 1.0
    max_new_tokens: int = 48
    gf_id: str = "id"
    gf_ood: str = "ood"
    gf_beta: float = 2.0

    def checks(self) -> Checks:
        """The checks of the shared settings; subclasses add their own and call ``done``."""
        checks = (
            Checks()
            .at_least("n", self.n, 1)
            .at_least("temperature", self.temperature, 0)
            .at_least("max_new_tokens", self.max_new_tokens, 1)
            .positive("gf_beta", self.gf_beta)
        )
        for where in ("gf_id", "gf_ood"):
            cell = getattr(self, where)
            checks.that(cell in self.cells, where, f"'{cell}' is not evaluated", f"choose one of: {self.cells}")
        return checks

    def __post_init__(self) -> None:
        self.checks().done()

    @property
    def own_cells(self) -> tuple[str, ...]:
        """Cells that are the suite's own, not cells of the problems."""
        return ()

    @abstractmethod
    def tasks(self, problems: ProblemSource) -> list[Task]:
        """The tasks of every cell; the same for every model and seed of a study.

        Args:
            problems: The study's own problems.
        """

    def score(self, texts: Sequence[str], tasks: Sequence[Task], judge: Judge | None) -> Sequence[Score]:
        """Whether responses follow the format that was asked for, and whether they are right.

        Args:
            texts: The responses.
            tasks: The task that each answers.
            judge: Judges open answers.
        """
        return assessor(judge)(texts, tasks)

    def told(self) -> str:
        """One line for the log about what is measured; empty if there is nothing to say."""
        return ""

    def graded(self, tasks: Sequence[Task]) -> list[Task]:
        """The tasks whose gold answers have to be readable by the grader, and are checked before anything is run.

        Args:
            tasks: Some of the suite's tasks.
        """
        return list(tasks)

    def stored(self, task: Task) -> Mapping[str, Any]:
        """What is kept beside a response so that it can be scored again; see ``tracking.rows.RESCORE_COLUMNS``.

        Args:
            task: One of the suite's tasks.
        """
        problem = task.problem
        return {
            "question": problem.question,
            "asked_kind": problem.answer_type,
            "choices": json.dumps(problem.choices, ensure_ascii=False),
            "precision": problem.precision,
            "unit": problem.unit,
            "asked_format": task.instruction.format,
            "benchmark": "",
            "item": "",
        }

    def files(self, samples: Sequence[Sample]) -> Mapping[str, Any]:
        """{file name: JSON data} of what the suite says of its last evaluation beside rows.

        Args:
            samples: All scored responses.
        """
        del samples
        return {}

    def summaries(self, samples: Sequence[Sample]) -> Mapping[tuple[str, str], tuple[float, int]]:
        """{(cell, metric): (value, n)} of what the suite says beside format and accuracy.

        Args:
            samples: All scored responses.
        """
        del samples
        return {}


def held_out(problems: ProblemSource, cells: Sequence[str], n: int) -> list[Task]:
    """The first ``n`` tasks of each cell that nothing is trained on, or as many as there are.

    Cells that lie in distribution on every axis draw from the ``id`` split, all others from ``ood``.
    """
    tasks = []
    for name in cells:
        split: Split = problems.evaluation_split(name)
        size = problems.size(name, split)
        count = n if size is None else min(n, size)
        tasks += [problems.draw_task(name, split, "evaluate", index) for index in range(count)]
    return tasks
