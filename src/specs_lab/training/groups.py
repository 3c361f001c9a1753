"""A group of GRPO: the responses to one prompt, what they earned, and what is logged of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from specs_lab.metrics import reflections
from specs_lab.models.prompts import Prompt
from specs_lab.rewards.scoring import Score
from specs_lab.rollout.sampling import Completion
from specs_lab.training.guards.offenders import Finding, text_of


@dataclass(frozen=True)
class Group:
    """The responses to one prompt and what they earned.

    Attributes:
        task: Id of the task.
        prompt: The prompt.
        completions: The responses.
        scores: What the reward function says of each.
    """

    task: str
    prompt: Prompt
    completions: Sequence[Completion]
    scores: Sequence[Score]

    @property
    def rewards(self) -> Tensor:
        """(group,) float, what advantages are made of."""
        return torch.tensor([score.reward for score in self.scores], dtype=torch.float32)

    @property
    def teaches(self) -> bool:
        """Whether responses are scored differently, apart from what only shapes the reward."""
        return len({score.substance for score in self.scores}) > 1

    @property
    def accuracy(self) -> float:
        """Share of right answers."""
        return sum(score.accuracy for score in self.scores) / len(self.scores)

    def not_finite(self) -> list[Finding]:
        """The responses whose log-probabilities or reward are no finite numbers."""
        pairs = zip(self.completions, self.scores, strict=True)
        return [
            {
                "id": self.task,
                "what": "sampling" if math.isfinite(reward) else "reward",
                "reward": text_of(reward),
                "tokens": len(self.prompt.token_ids) + len(one.token_ids),
                "again": True,
            }
            for one, reward, logprob in ((one, score.reward, sum(one.logprobs)) for one, score in pairs)
            if not math.isfinite(reward + logprob)
        ]


def sums_over(
    groups: Sequence[Group],
    fits: Callable[[Group], bool],
    terms: Sequence[str],
    decode: Callable[[Sequence[int]], str],
) -> dict[str, float]:
    """What is logged, summed over the responses of all groups; ``count`` is how many there are.

    Args:
        groups: The groups.
        fits: Whether a group is one to be trained on.
        terms: Names of the terms of the reward.
        decode: Tokens to text.
    """
    scores = [score for group in groups for score in group.scores]
    completions = [one for group in groups for one in group.completions]

    def responses_where(holds: Callable[[Group], bool]) -> float:
        return float(sum(len(group.completions) for group in groups if holds(group)))

    return {
        "reward": sum(score.reward for score in scores),
        "format": sum(score.format for score in scores),
        "accuracy": sum(score.accuracy for score in scores),
        "joint": sum(score.format and score.accuracy for score in scores),
        "length": sum(len(one.token_ids) for one in completions),
        "truncated": sum(one.truncated for one in completions),
        "zero_variance": responses_where(lambda group: not group.teaches),
        "left_out": responses_where(lambda group: not fits(group)),
        "all_right": responses_where(lambda group: group.accuracy == 1),
        "all_wrong": responses_where(lambda group: group.accuracy == 0),
        "reflections": sum(reflections.count(decode(one.token_ids)) for one in completions),
        "grading_stopped": sum(score.stopped for score in scores),
        **{f"reward/{name}": sum(score.terms.get(name, 0.0) for score in scores) for name in terms},
        "count": len(scores),
    }
