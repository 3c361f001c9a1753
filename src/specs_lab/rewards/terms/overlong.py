"""The soft overlong punishment (DAPO, arXiv 2503.14476, eq. 13)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from specs_lab.core.options import Checks, option
from specs_lab.rewards.scoring import Batch, Response
from specs_lab.rewards.terms.base import RewardTerm


@option("reward_term", "overlong")
@dataclass(kw_only=True)
class OverlongTerm(RewardTerm):
    """A punishment that grows over the last tokens that a response is allowed.

    No response is longer than allowed, since decoding stops there: one that was cut off gets the whole punishment, like
    one that ends with its last token allowed.

    Attributes:
        buffer: Length of the ramp, in tokens; a longer one than the response is allowed begins at its first token.

    Example:
        48 tokens allowed and ``buffer`` 10: 38 tokens or fewer 0, 43 tokens -0.5, 48 tokens -1.
    """

    shapes: ClassVar[bool] = True

    buffer: int = 10

    def values(self, batch: Batch) -> list[float]:
        """In [-1, 0]."""
        return [soft_overlong(one, self.buffer) for one in batch.responses]

    def check(self, checks: Checks, where: str) -> Checks:
        """Adds what is wrong with the options."""
        return super().check(checks, where).at_least(f"{where}buffer", self.buffer, 1)


def soft_overlong(response: Response, buffer: int) -> float:
    """The punishment of one response, in [-1, 0]."""
    ramp = min(buffer, response.longest)
    return min(0.0, max(-1.0, (response.longest - ramp - response.tokens) / ramp)) if ramp else 0.0
