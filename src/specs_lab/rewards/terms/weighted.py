"""A reward: the weighted sum of its terms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from specs_lab.core.options import Checks, option
from specs_lab.rewards.scoring import Asked, Batch, Helpers, Response, Score
from specs_lab.rewards.terms.base import RewardTerm


@option("reward", "weighted")
@dataclass(kw_only=True)
class WeightedReward:
    """The weighted sum of some terms.

    Attributes:
        terms: The terms by name; each is a choice of the group ``reward_term`` with a weight.
    """

    terms: dict[str, RewardTerm] = field(default_factory=dict)

    def __post_init__(self) -> None:
        checks = Checks()
        for name, term in self.terms.items():
            term.check(checks, f"terms.{name}.")
        some = any(term.weight > 0 and not term.shapes for term in self.terms.values())
        fix = "add a term, e.g. +reward_term@reward.terms.accuracy=accuracy, or give one a weight > 0"
        checks.that(some, "terms", "nothing is rewarded", fix)
        gap = self._gap() if some else None
        what = f"nothing is rewarded from {gap} of the steps on"
        checks.that(gap is None, "terms", what, "let since and until of the terms cover all of [0, 1]").done()

    def _gap(self) -> float | None:
        """The share of the steps from which on nothing but shaping counts for a while; None if there is none."""
        reached = 0.0
        for term in sorted(self.terms.values(), key=lambda term: term.since):
            if term.weight > 0 and not term.shapes and term.since <= reached:
                reached = max(reached, term.until)
        return None if reached >= 1 else reached

    @property
    def asks_model(self) -> bool:
        """Whether a term asks a frozen model."""
        return any(term.asks_model and term.weight > 0 for term in self.terms.values())

    @property
    def longest_answer(self) -> int:
        """Longest answer that a term wants of the frozen model."""
        return max((term.longest_answer for term in self.terms.values()), default=0)

    def score(
        self,
        responses: Sequence[Response],
        asked: Sequence[Asked],
        helpers: Helpers | None = None,
        progress: float = 1.0,
    ) -> list[Score]:
        """Scores responses.

        Args:
            responses: The responses.
            asked: What each answers.
            helpers: Models that terms ask.
            progress: Share of the RL steps that are done, in [0, 1].

        Raises:
            UserError: If a gold answer is none of its type, or an open answer finds no judge.
        """
        batch = Batch(responses, asked, helpers)
        active = {name: term for name, term in self.terms.items() if term.weight > 0 and term.counts_at(progress)}
        added = {name: [term.weight * value for value in term.values(batch)] for name, term in active.items()}
        shaping = frozenset(name for name, term in active.items() if term.shapes)
        scores = []
        for place, score in enumerate(assess(batch)):
            own = {name: values[place] for name, values in added.items()}
            scores.append(replace(score, reward=sum(own.values(), 0.0), terms=own, shaping=shaping))
        return scores


def assess(batch: Batch) -> list[Score]:
    """Format and accuracy of responses, without a reward."""
    return [
        Score(followed, verdict.correct, 0.0, verdict.extracted, verdict.kind, stopped=verdict.stopped)
        for followed, verdict in zip(batch.followed(), batch.verdicts(), strict=True)
    ]
