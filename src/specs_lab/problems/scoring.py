"""Scores responses to tasks: what training and evaluation call."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from specs_lab.problems.tasks import Task
from specs_lab.rewards.judge import Judge
from specs_lab.rewards.scoring import Asked, Batch, Helpers, Response, Score
from specs_lab.rewards.terms.weighted import WeightedReward, assess

Scorer = Callable[[Sequence[Response], Sequence[Task], float], Sequence[Score]]
"""(responses, the task of each, share of the steps that are done) to what each response earned."""
Assessor = Callable[[Sequence[str], Sequence[Task]], Sequence[Score]]
"""(texts of responses, the task of each) to whether they follow the format and are right."""


def asked(task: Task) -> Asked:
    """What a task asks."""
    problem = task.problem
    return Asked(
        id=task.id,
        gold=problem.answer,
        format=task.instruction.format,
        kind=problem.answer_type,
        choices=problem.choices,
        precision=problem.precision,
        unit=problem.unit,
        question=problem.question,
    )


def assessor(judge: Judge | None = None) -> Assessor:
    """Says of responses whether they follow the format and whether they are right."""

    def score(texts: Sequence[str], tasks: Sequence[Task]) -> list[Score]:
        return assess(Batch([Response(text) for text in texts], [asked(task) for task in tasks], Helpers(judge=judge)))

    return score


def rewarder(reward: WeightedReward, helpers: Helpers | None = None) -> Scorer:
    """Scores responses under a reward."""

    def score(responses: Sequence[Response], tasks: Sequence[Task], progress: float) -> list[Score]:
        return reward.score(responses, [asked(task) for task in tasks], helpers, progress)

    return score
