"""Reasoning that leads to the answer: Embodied-R's consistency reward (arXiv 2504.12680).

A frozen model is given the question and the reasoning, not the picture, and answers. If it answers as the response
does, the reasoning carried the answer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from specs_lab.core.options import Checks, option
from specs_lab.rewards.format import parse
from specs_lab.rewards.grader import grade_many, terms_of
from specs_lab.rewards.kinds.base import KINDS
from specs_lab.rewards.scoring import Batch
from specs_lab.rewards.terms.base import RewardTerm


@option("reward_term", "consistency")
@dataclass(kw_only=True)
class ConsistencyTerm(RewardTerm):
    """A frozen model answers from the reasoning as the response does.

    A response that does not follow the format has no reasoning that could be told from the rest, and gets 0.

    Attributes:
        when_correct: Pay only if the answer is right, too: else being consistently wrong would be paid for.
    """

    asks_model: ClassVar[bool] = True

    when_correct: bool = True

    def values(self, batch: Batch) -> list[float]:
        """1 or 0."""
        values = [0.0] * len(batch.responses)
        verdicts = batch.verdicts()
        places, reasonings, answers = [], [], []
        for place, (response, asked) in enumerate(zip(batch.responses, batch.asked, strict=True)):
            parts = parse(response.text, asked.format)
            if parts is None or (self.when_correct and not verdicts[place].correct):
                continue
            terms = terms_of(asked.choices, asked.precision, asked.unit, asked.question)
            if KINDS.get(verdicts[place].kind).read_gold(parts.answer, terms) is None:
                continue  # it answers something else: nothing can agree with it
            places.append(place)
            reasonings.append(parts.reasoning)
            answers.append(parts.answer)
        if not places:
            return values
        if batch.helpers.answer_from is None:
            raise ValueError("the consistency term needs a frozen model: pass Helpers(answer_from=…)")
        asked = [batch.asked[place] for place in places]
        echoes = batch.helpers.answer_from(list(zip(asked, reasonings, strict=True)))
        same = grade_many(
            echoes,
            answers,
            [verdicts[place].kind for place in places],
            choices=[one.choices for one in asked],
            precisions=[one.precision for one in asked],
            units=[one.unit for one in asked],
            questions=[one.question for one in asked],
            judge=batch.helpers.judge,
        )
        for place, verdict in zip(places, same, strict=True):
            values[place] = float(verdict.correct)
        return values

    def check(self, checks: Checks, where: str) -> Checks:
        """Adds what is wrong with the options."""
        return super().check(checks, where)
