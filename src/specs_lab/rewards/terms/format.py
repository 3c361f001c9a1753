"""Following the requested form (DeepSeek-R1, arXiv 2501.12948, 2.2)."""

from __future__ import annotations

from dataclasses import dataclass

from specs_lab.core.options import Checks, option
from specs_lab.rewards.format import share_followed
from specs_lab.rewards.scoring import Batch
from specs_lab.rewards.terms.base import RewardTerm, check_format


@option("reward_term", "format")
@dataclass(kw_only=True)
class FormatTerm(RewardTerm):
    """The requested format.

    Attributes:
        format: The format; null: the one that the prompt asks for.
        graded: Pay by the share of the format that is followed, see
            :func:`~specs_lab.rewards.format.share_followed`, instead of all or nothing.
        followed: Value of a response that follows it.
        missed: Value of one that does not; below ``followed``. With ``followed`` 0 and ``missed`` -1 it is a penalty.
    """

    format: str | None = None
    graded: bool = False
    followed: float = 1.0
    missed: float = 0.0

    def values(self, batch: Batch) -> list[float]:
        """From ``missed`` to ``followed``."""
        if self.graded:
            pairs = zip(batch.responses, batch.formats(self.format), strict=True)
            shares = [share_followed(response.text, format) for response, format in pairs]
        else:
            shares = [float(followed) for followed in batch.followed(self.format)]
        return [self.missed + (self.followed - self.missed) * share for share in shares]

    def check(self, checks: Checks, where: str) -> Checks:
        """Adds what is wrong with the options."""
        what = f"{self.missed} is not below followed = {self.followed}"
        checks = super().check(checks, where).that(self.missed < self.followed, f"{where}missed", what, "give less")
        return check_format(checks, f"{where}format", self.format)
