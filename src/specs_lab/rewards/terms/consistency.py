"""Reasoning that leads to the answer: Embodied-R's consistency reward (arXiv 2504.12680).

A frozen model is given the question and the reasoning, not the picture, and answers. If it answers as the response
does, the reasoning carried the answer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from specs_lab.core.errors import UserError
from specs_lab.core.options import Checks, option
from specs_lab.rewards.format import parse
from specs_lab.rewards.grader import grade
from specs_lab.rewards.scoring import Batch
from specs_lab.rewards.terms.base import RewardTerm


@option("reward_term", "consistency")
@dataclass(kw_only=True)
class ConsistencyTerm(RewardTerm):
    """A frozen model answers from the reasoning as the response does.

    A response that does not follow the format has no reasoning that could be told from the rest, and gets 0.

    Attributes:
        answer_tokens: Longest answer of the frozen model.
        when_correct: Pay only if the answer is right, too: else being consistently wrong would be paid for.
    """

    asks_model: ClassVar[bool] = True

    when_correct: bool = True
    answer_tokens: int = 16

    @property
    def longest_answer(self) -> int:
        """Tokens of the longest answer that it wants of the frozen model."""
        return self.answer_tokens

    def values(self, batch: Batch) -> list[float]:
        """1 or 0."""
        values = [0.0] * len(batch.responses)
        verdicts = batch.verdicts()
        thoughts: dict[int, str] = {}
        for place, (response, asked) in enumerate(zip(batch.responses, batch.asked, strict=True)):
            parts = parse(response.text, asked.format)
            if parts is not None and (verdicts[place].correct or not self.when_correct):
                thoughts[place] = parts.reasoning
        if not thoughts:
            return values
        if batch.helpers.answer_from is None:
            raise ValueError("the consistency term needs a frozen model: pass Helpers(answer_from=…)")
        echoes = batch.helpers.answer_from([(batch.asked[place], thought) for place, thought in thoughts.items()])
        for place, echo in zip(thoughts, echoes, strict=True):
            values[place] = float(self._agrees(echo, batch, place))
        return values

    def check(self, checks: Checks, where: str) -> Checks:
        """Adds what is wrong with the options."""
        return super().check(checks, where).at_least(f"{where}answer_tokens", self.answer_tokens, 1)

    def _agrees(self, echo: str, batch: Batch, place: int) -> bool:
        """Whether the frozen model answers as the response does; a right response answers as the gold answer does."""
        asked, verdict = batch.asked[place], batch.verdicts()[place]
        answer = asked.gold if verdict.correct else verdict.extracted
        if answer is None:
            return False
        try:
            return grade(
                echo,
                answer,
                verdict.kind,
                choices=asked.choices,
                precision=asked.precision,
                unit=asked.unit,
                question=asked.question,
                judge=batch.helpers.judge,
            ).correct
        except UserError:
            if verdict.correct:
                raise
            return False  # the policy's answer, here in the gold answer's place, is none of its type
