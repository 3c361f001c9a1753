"""Thinking longer, or over again: RLSP's exploration reward (arXiv 2502.06773), capped."""

from __future__ import annotations

import re
from dataclasses import dataclass

from specs_lab.core.options import Checks, option
from specs_lab.rewards.scoring import Batch, Response
from specs_lab.rewards.terms.base import RewardTerm

MEASURES = ("length", "effort")
EFFORT = re.compile(r"\b(?:wait|again|hmm|alternatively|double-check|re-?evaluate|mistake|check)\b", re.IGNORECASE)
"""Words that turn back in a reasoning."""


@option("reward_term", "exploration")
@dataclass(kw_only=True)
class ExplorationTerm(RewardTerm):
    """A bonus that grows with the effort of a response, up to a cap.

    Deviation: a response that was cut off gets none, as going on without an end would earn it all.

    Attributes:
        measure: ``length``: tokens; ``effort``: words that turn back, such as "wait" and "double-check".
        cap: So many earn all of it.
    """

    measure: str = "length"
    cap: int = 40

    def values(self, batch: Batch) -> list[float]:
        """In [0, 1]."""
        return [0.0 if one.truncated else min(1.0, self._amount(one) / self.cap) for one in batch.responses]

    def _amount(self, response: Response) -> int:
        return response.tokens if self.measure == "length" else len(EFFORT.findall(response.text))

    def check(self, checks: Checks, where: str) -> Checks:
        """Adds what is wrong with the options."""
        checks = super().check(checks, where).one_of(f"{where}measure", self.measure, MEASURES)
        return checks.at_least(f"{where}cap", self.cap, 1)
