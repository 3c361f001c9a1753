"""No judge: every answer is graded by a rule."""

from __future__ import annotations

from dataclasses import dataclass

from specs_lab.core.options import Checks, option
from specs_lab.rewards.judge import Judge


@option("judge", "none")
@dataclass(kw_only=True)
class NoJudge:
    """No judge; an open-text answer is then a fault in the data.

    Attributes:
        threshold: Without meaning here; there so that it can be set for every judge.
    """

    threshold: float = 0.5

    def __post_init__(self) -> None:
        Checks().share("threshold", self.threshold).done()

    def make(self) -> Judge | None:
        """None."""
        return None
