"""Measures a model on every cell: sample, score, average."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from specs_lab.evaluation.suites.cells import CellsSuite
from specs_lab.models.prompts import Prompt
from specs_lab.models.vlm import VLM
from specs_lab.problems.base import Split
from specs_lab.problems.sources.procedural import ProceduralProblems, Task, draw_task
from specs_lab.rewards.scoring import Score
from specs_lab.rewards.tasks import Assessor
from specs_lab.rollout.inprocess import generate
from specs_lab.rollout.sampling import Sampling


@dataclass(frozen=True)
class Sample:
    """A scored response to one evaluation task."""

    task: Task
    response: str
    score: Score
    truncated: bool


class CellList(Protocol):
    """What says which tasks to draw: cells, and problems in each."""

    cells: list[str]
    n: int


def suite_tasks(suite: CellList, problems: ProceduralProblems) -> list[Task]:
    """The evaluation tasks of every cell; the same for every model and seed of a study.

    Cells that lie in distribution on every axis draw from the ``id`` split, all others from ``ood``.
    """
    tasks = []
    for name in suite.cells:
        cell = problems.cells[name]
        inside = cell.family == cell.instruction == cell.style == "id"
        split: Split = "id" if inside else "ood"
        tasks += [draw_task(problems, name, split, "evaluate", index) for index in range(suite.n)]
    return tasks


class Evaluator:
    """Evaluates models of one processor on one suite; prompts are encoded once.

    Args:
        suite: What to measure.
        problems: Where tasks come from.
        batch_size: Responses decoded side by side.
        score: Scores responses.
    """

    def __init__(self, suite: CellsSuite, problems: ProceduralProblems, batch_size: int, score: Assessor) -> None:
        self.tasks = suite_tasks(suite, problems)
        self._sampling = Sampling(temperature=suite.temperature, max_new_tokens=suite.max_new_tokens)
        self._batch_size = batch_size
        self._score = score
        self._prompts: list[Prompt] = []

    def __call__(self, vlm: VLM) -> list[Sample]:
        """Samples one response to every task under common random numbers and scores it."""
        if not self._prompts:
            tasks = self.tasks
            self._prompts = vlm.encode_prompts(
                [t.text for t in tasks], [t.problem.image for t in tasks], [t.problem.id for t in tasks]
            )
        keys = [[f"evaluate/{task.id}"] for task in self.tasks]
        made = generate(vlm, self._prompts, keys, self._sampling, batch_size=self._batch_size)
        completions = [completion for (completion,) in made]
        texts = [vlm.decode(completion.token_ids) for completion in completions]
        scores = self._score(texts, self.tasks)
        return [
            Sample(task, text, score, completion.truncated)
            for task, text, score, completion in zip(self.tasks, texts, scores, completions, strict=True)
        ]


def cell_means(samples: Sequence[Sample]) -> dict[tuple[str, str], tuple[float, int]]:
    """{(cell, metric): (mean, n)} for format, accuracy, joint (both at once) and truncated."""
    by_cell: dict[str, list[Sample]] = {}
    for sample in samples:
        by_cell.setdefault(sample.task.cell, []).append(sample)
    means = {}
    for cell, group in by_cell.items():
        values = {
            "format": [s.score.format for s in group],
            "accuracy": [s.score.accuracy for s in group],
            "joint": [s.score.format and s.score.accuracy for s in group],
            "truncated": [s.truncated for s in group],
        }
        means.update({(cell, metric): (sum(v) / len(v), len(v)) for metric, v in values.items()})
    return means
