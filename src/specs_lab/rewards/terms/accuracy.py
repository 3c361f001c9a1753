"""The right answer, by a rule for its type: verifiable reward."""

from __future__ import annotations

import math
from dataclasses import dataclass

from specs_lab.core.options import Checks, option
from specs_lab.rewards.grader import Verdict
from specs_lab.rewards.judge import Judged
from specs_lab.rewards.scoring import Batch
from specs_lab.rewards.terms.base import RewardTerm, check_format


@option("reward_term", "accuracy")
@dataclass(kw_only=True)
class AccuracyTerm(RewardTerm):
    """A correct answer.

    Attributes:
        strict: Only the place counts that the format demands; else wherever the answer is stated.
        format: The format that says the place; null: the one that the prompt asks for.
        partial: Pay a box by its overlap (IoU) and an open answer by the judge's value, instead of all or nothing.
        open_beta: Pay open answers 1 - exp(-open_beta (S(answer) - S(gold))) where the judge scores the answer above
            the reference, else 0 (VLAA-Thinking, arXiv 2504.11468). The judge must score each text by itself: one
            that compares an answer with the reference never scores it higher. Null: as ``partial`` says.
        unanswered: Value where no answer is found.
    """

    strict: bool = False
    format: str | None = None
    partial: bool = False
    open_beta: float | None = None
    unanswered: float = 0.0

    def values(self, batch: Batch) -> list[float]:
        """In [0, 1], or ``unanswered``."""
        verdicts = batch.verdicts(batch.formats(self.format) if self.strict else None)
        values = [self._value(verdict) for verdict in verdicts]
        if self.open_beta is not None:
            for place, value in self._above_reference(batch, verdicts, self.open_beta).items():
                values[place] = value
        return values

    def _value(self, verdict: Verdict) -> float:
        if verdict.extracted is None:
            return self.unanswered
        return verdict.score if self.partial else float(verdict.correct)

    @staticmethod
    def _above_reference(batch: Batch, verdicts: list[Verdict], beta: float) -> dict[int, float]:
        """The values of open answers by place."""
        judge = batch.helpers.judge
        places = [i for i, one in enumerate(verdicts) if one.kind == "open" and one.extracted is not None]
        if judge is None or not places:
            return {}
        golds = judge([Judged(batch.asked[i].gold, batch.asked[i].gold, batch.asked[i].question) for i in places])
        gains = [verdicts[i].score - gold for i, gold in zip(places, golds, strict=True)]
        return {i: 1 - math.exp(-beta * gain) if gain > 0 else 0.0 for i, gain in zip(places, gains, strict=True)}

    def check(self, checks: Checks, where: str) -> Checks:
        """Adds what is wrong with the options."""
        checks = (
            super()
            .check(checks, where)
            .that(
                self.unanswered <= 0,
                f"{where}unanswered",
                f"{self.unanswered} pays for no answer",
                "give a number <= 0",
            )
        )
        if self.open_beta is not None:
            checks.positive(f"{where}open_beta", self.open_beta)
        checks.that(
            self.strict or self.format is None,
            f"{where}format",
            "is not read unless strict",
            f"add {where}strict=true, or leave it out",
        )
        return check_format(checks, f"{where}format", self.format)
