"""Many responses to each problem: sampled, graded, and some of them looked at token by token."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from specs_lab.core.journal import Recall, make_anew
from specs_lab.evaluation.suites.base import Suite, held_out
from specs_lab.evaluation.suites.sampled import SampledSuite
from specs_lab.metrics.exploration import Answered
from specs_lab.models.micro_batches import micro_batches
from specs_lab.models.prompts import Prompt, Row
from specs_lab.models.vlm import VLM
from specs_lab.problems.scoring import Assessor, asked
from specs_lab.problems.tasks import ProblemSource, Task
from specs_lab.rewards.scoring import Score
from specs_lab.rewards.voting import ballots
from specs_lab.rollout.inprocess import generate
from specs_lab.rollout.sampling import Completion, Sampling

_BATCHES = 4
"""Batches of responses in one chunk of problems: prompts of like length share a batch within a chunk."""


@dataclass(frozen=True)
class Explored:
    """A problem, and its responses as they are measured and as they were scored.

    Attributes:
        task: The problem.
        answered: The responses.
        scores: What each of them earned.
    """

    task: Task
    answered: Answered
    scores: Sequence[Score]


def _tasks(suite: SampledSuite, problems: ProblemSource, measured: Suite | None) -> list[Task]:
    """The first tasks of each cell, of the problems or of what is measured otherwise."""
    own = [cell for cell in suite.cells if measured is not None and cell in measured.own_cells]
    others = held_out(problems, [cell for cell in suite.cells if cell not in own], suite.n)
    found = measured.tasks(problems) if measured is not None and own else []
    return others + [task for cell in own for task in [one for one in found if one.cell == cell][: suite.n]]


class Explorer:
    """Samples many responses to each problem of a suite.

    Args:
        suite: The settings.
        problems: Where the problems come from.
        measured: Whose own cells, such as a benchmark's, can be named too.
        batch_size: Responses decoded side by side.
        micro_batch_tokens: Most tokens in a pass that looks at distributions.
        score: Scores responses.

    Attributes:
        tasks: The problems; the same for every model and seed.
    """

    def __init__(
        self,
        suite: SampledSuite,
        problems: ProblemSource,
        *,
        batch_size: int,
        micro_batch_tokens: int,
        score: Assessor,
        measured: Suite | None = None,
    ) -> None:
        self.tasks = _tasks(suite, problems, measured)
        self._suite = suite
        self._sampling = Sampling(temperature=suite.temperature, max_new_tokens=suite.max_new_tokens, top_p=suite.top_p)
        self._batch_size = batch_size
        self._micro_batch_tokens = micro_batch_tokens
        self._score = score

    def explore(self, vlm: VLM, recall: Recall = make_anew) -> Iterator[list[Explored]]:
        """Yields the problems in chunks; every model answers under the same random numbers.

        Args:
            vlm: The model.
            recall: Where answers are kept, for an exploration that is interrupted.
        """
        size = max(1, _BATCHES * self._batch_size // self._suite.samples)
        for start in range(0, len(self.tasks), size):
            tasks = self.tasks[start : start + size]
            yield self._graded(tasks, recall(str(start), lambda tasks=tasks: self._answers(vlm, tasks)))

    def _answers(self, vlm: VLM, tasks: Sequence[Task]) -> list[dict[str, Any]]:
        """For each task the texts and lengths of its responses, and the spreads of the first few of them."""
        prompts = vlm.encode_prompts([t.text for t in tasks], [t.images for t in tasks], [t.problem.id for t in tasks])
        keys = [[f"explore/{task.id}/{k}" for k in range(self._suite.samples)] for task in tasks]
        groups = generate(vlm, prompts, keys, self._sampling, batch_size=self._batch_size)
        spreads = self._spreads(vlm, prompts, groups)
        return [
            {
                "texts": [vlm.decode(one.token_ids) for one in group],
                "lengths": [len(one.token_ids) for one in group],
                "nucleus": nucleus,
                "entropy": entropy,
            }
            for group, (nucleus, entropy) in zip(groups, spreads, strict=True)
        ]

    def _graded(self, tasks: Sequence[Task], answers: Sequence[dict[str, Any]]) -> list[Explored]:
        scores = iter(
            self._score(
                [text for answer in answers for text in answer["texts"]],
                [task for task, answer in zip(tasks, answers, strict=True) for _ in answer["texts"]],
            )
        )
        found = []
        for task, answer in zip(tasks, answers, strict=True):
            earned = [next(scores) for _ in answer["texts"]]
            answered = Answered(
                **answer,
                votes=ballots(asked(task), earned),
                correct=[score.accuracy for score in earned],
                format=[score.format for score in earned],
            )
            found.append(Explored(task, answered, earned))
        return found

    def _spreads(
        self, vlm: VLM, prompts: Sequence[Prompt], groups: Sequence[Sequence[Completion]]
    ) -> list[tuple[list[float], list[float]]]:
        """For each problem, nucleus sizes and entropies at all positions of its first few responses."""
        found: list[tuple[list[float], list[float]]] = [([], []) for _ in prompts]
        rows = [
            (i, Row(prompt, one.token_ids))
            for i, (prompt, group) in enumerate(zip(prompts, groups, strict=True))
            for one in group[: self._suite.spread_samples]
        ]
        with vlm.inference():
            for part in micro_batches(
                rows, lambda item: (item[1],), self._micro_batch_tokens, shared=vlm.shares_prompts
            ):
                scored = vlm.logprobs([row for _, row in part], spread=True)
                if scored.nucleus is None or scored.entropy is None:
                    raise RuntimeError("the spread of distributions was asked for and is missing")
                for (i, row), sizes, entropies in zip(
                    part, scored.nucleus.tolist(), scored.entropy.tolist(), strict=True
                ):
                    found[i][0].extend(sizes[: len(row.completion)])
                    found[i][1].extend(entropies[: len(row.completion)])
        return found
