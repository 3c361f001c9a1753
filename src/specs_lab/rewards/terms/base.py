"""What a part of a reward is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from specs_lab.core.options import Checks
from specs_lab.rewards.format import FORMATS
from specs_lab.rewards.scoring import Batch


@dataclass(kw_only=True)
class RewardTerm:
    """A part of a reward; a subclass under ``@option("reward_term", …)`` says what it is.

    Attributes:
        weight: What its value is multiplied by.
        since: Share of the RL steps after which it counts.
        until: Share of the RL steps up to which it counts.
    """

    shapes: ClassVar[bool] = False
    """Whether it only shapes the reward: a group that differs in it alone counts as one that teaches nothing."""
    asks_model: ClassVar[bool] = False
    """Whether it asks a frozen model to answer from the reasoning alone."""

    weight: float = 1.0
    since: float = 0.0
    until: float = 1.0

    @property
    def longest_answer(self) -> int:
        """Tokens of the longest answer that it wants of the frozen model."""
        return 0

    def values(self, batch: Batch) -> list[float]:
        """The value of each response, before weighting."""
        raise NotImplementedError

    def counts_at(self, progress: float) -> bool:
        """Whether it counts when so great a share of the steps is done."""
        return self.since <= progress and (progress < self.until or self.until == 1)

    def check(self, checks: Checks, where: str) -> Checks:
        """Adds what is wrong with the options; ``where`` stands before the names of fields."""
        known = type(self) is not RewardTerm
        checks.that(known, where.rstrip("."), "does not say what it rewards", "take a choice of the group reward_term")
        checks.at_least(f"{where}weight", self.weight, 0).share(f"{where}since", self.since)
        return checks.share(f"{where}until", self.until).that(
            self.since < self.until,
            f"{where}until",
            f"{self.until} is not after since = {self.since}",
            "give a later share",
        )


def check_format(checks: Checks, where: str, format: str | None) -> Checks:
    """Adds a fault unless a format is known, or is left to the prompt."""
    return checks if format is None else checks.one_of(where, format, tuple(FORMATS))
