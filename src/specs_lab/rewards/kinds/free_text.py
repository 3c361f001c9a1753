"""Open answers, which no rule can compare: a judge does."""

from __future__ import annotations

from typing import ClassVar

from specs_lab.rewards.kinds.base import AnswerKind, ForJudge, Terms, kind
from specs_lab.rewards.text import strip


@kind
class FreeText(AnswerKind[str]):
    """Free text; its worth is what the judge says."""

    name: ClassVar[str] = "open"

    def read_gold(self, text: str, terms: Terms) -> str | None:
        """The text as it is; None if it is blank."""
        return strip(text) or None

    def compare(self, given: str, gold: str, terms: Terms) -> ForJudge:
        """Asks the judge."""
        return ForJudge(given, gold)
