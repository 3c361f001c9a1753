"""Measures a model on every cell: sample, score, average."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from specs_lab.core.journal import Recall, make_anew
from specs_lab.evaluation.suites.base import Suite
from specs_lab.models.prompts import Prompt
from specs_lab.models.vlm import VLM
from specs_lab.problems.tasks import ProblemSource, Task
from specs_lab.rewards.judge import Judge
from specs_lab.rewards.scoring import Score
from specs_lab.rollout.inprocess import generate
from specs_lab.rollout.sampling import Sampling
from specs_lab.training.distributed import dealt_back, from_all, my_share, rank, when_first_says

_BATCHES = 4
"""Batches of responses whose prompts are encoded together; the pictures of all of a benchmark fit into no memory."""
_MOST_KEPT = 2**30
"""Bytes of encoded pictures that are kept between evaluations."""


@dataclass(frozen=True)
class Sample:
    """A scored response to one evaluation task."""

    task: Task
    response: str
    score: Score
    truncated: bool


class Evaluator:
    """Evaluates models of one processor on one suite; prompts are encoded once, as long as they fit into memory.

    Args:
        suite: What to measure.
        problems: The study's own problems.
        batch_size: Responses decoded side by side.
        judge: Judges open answers.
    """

    def __init__(self, suite: Suite, problems: ProblemSource, batch_size: int, judge: Judge | None = None) -> None:
        self.tasks = suite.tasks(problems)
        self._suite = suite
        self._sampling = Sampling(temperature=suite.temperature, max_new_tokens=suite.max_new_tokens)
        self._batch_size = batch_size
        self._judge = judge
        self._prompts: dict[int, list[Prompt]] = {}
        self._kept_bytes = 0

    @property
    def most_tokens(self) -> int:
        """The most that one evaluation can sample."""
        return len(self.tasks) * self._sampling.max_new_tokens

    def __call__(
        self,
        vlm: VLM,
        report: Callable[[int], None] = lambda _: None,
        *,
        recall: Recall = make_anew,
        name: str = "",
    ) -> list[Sample]:
        """Samples one response to every task under common random numbers and scores it.

        Ranks that work together share the tasks; the first one scores, and all are told.

        Args:
            vlm: The model.
            report: Told how many more tasks have been answered.
            recall: Where answers are kept, for an evaluation that is interrupted.
            name: What they are kept by; differs between evaluations.
        """
        size = _BATCHES * self._batch_size
        answers: list[tuple[str, bool]] = []
        for start in range(0, len(self.tasks), size):
            made = recall(f"{name}/{start}", lambda start=start: self._answers(vlm, start, start + size))
            answers += [(text, cut) for text, cut in made]
            report(len(made))
        texts = [text for text, _ in answers]
        scores = when_first_says(self._suite.score(texts, self.tasks, self._judge) if rank() == 0 else [])
        return [
            Sample(task, text, score, cut) for task, (text, cut), score in zip(self.tasks, answers, scores, strict=True)
        ]

    def _answers(self, vlm: VLM, start: int, end: int) -> list[list[Any]]:
        """[response, whether it was cut] for each of some tasks."""
        tasks = my_share(self.tasks[start:end])
        keys = [[f"evaluate/{task.id}"] for task in tasks]
        prompts = self._encoded(vlm, start, tasks)
        with vlm.in_step():
            made = generate(vlm, prompts, keys, self._sampling, batch_size=self._batch_size)
        return dealt_back(from_all([[vlm.decode(one.token_ids), one.truncated] for (one,) in made]))

    def _encoded(self, vlm: VLM, start: int, tasks: Sequence[Task]) -> list[Prompt]:
        """The prompts of some tasks; kept as long as there is room, for the next evaluation."""
        if start not in self._prompts:
            prompts = vlm.encode_prompts(
                [t.text for t in tasks], [t.images for t in tasks], [t.problem.id for t in tasks]
            )
            self._kept_bytes += sum(one.nbytes for prompt in prompts for one in prompt.vision.values())
            if self._kept_bytes > _MOST_KEPT:
                return prompts
            self._prompts[start] = prompts
        return self._prompts[start]


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
