"""Consistency by a frozen model: from the reasoning alone, without the picture, it must arrive at the same answer.

As in Embodied-R's consistency reward (arXiv 2504.12680); see :mod:`specs_lab.rollout.from_reasoning`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from specs_lab.core.options import Checks, option
from specs_lab.data.consistency.base import Consistency, Said
from specs_lab.data.workshop import Drawing, Question, Workshop, terms
from specs_lab.rewards.format import tags_of
from specs_lab.rewards.grader import grade_many
from specs_lab.rewards.inference import canonical_kind, infer_kind
from specs_lab.rewards.kinds.base import KINDS

MODELS = ("base", "self")


@option("consistency", "from_reasoning")
@dataclass(kw_only=True)
class FromReasoning(Consistency):
    """Keeps responses whose reasoning leads a model, which goes on greedily where the answer begins, to their answer.

    Attributes:
        model: Which: ``base``, the model that the cold start starts from, or ``self``, the model that is distilled.
        max_new_tokens: Longest answer; one that is longer counts as another.
    """

    model: str = "base"
    max_new_tokens: int = 16

    def __post_init__(self) -> None:
        Checks().one_of("model", self.model, MODELS).at_least("max_new_tokens", self.max_new_tokens, 1).done()

    def reads(self) -> tuple[str, ...]:
        """The model."""
        return (self.model,)

    def keep(self, said: Sequence[Said], shop: Workshop) -> list[bool]:
        """Whether each reasoning leads the model to the same answer."""
        drawing = Drawing(temperature=0, max_new_tokens=self.max_new_tokens)
        replies = shop.sample(self.model, [_question(one) for one in said], 1, drawing) if said else []
        kept = [False] * len(said)
        answers = {
            place: texts[0].partition(tags_of(one.task.instruction.format)[3])[0]
            for place, (one, texts) in enumerate(zip(said, replies, strict=True))
            if texts and _readable(one)
        }
        for place, same in zip(answers, _same([said[p] for p in answers], list(answers.values()), shop), strict=True):
            kept[place] = same
        return kept


def _question(one: Said) -> Question:
    opening, closing, answer_opening, _ = tags_of(one.task.instruction.format)
    begun = f"{opening} {one.parts.reasoning} {closing} {answer_opening}"
    return Question(one.task.text, (), "", f"consistency/{one.task.id}", begun)  # greedy: the key means nothing


def _readable(one: Said) -> bool:
    """Whether the answer can serve as a gold answer."""
    problem = one.task.problem
    stated = problem.answer_type
    name = canonical_kind(stated) if stated else infer_kind(problem.answer, problem.choices, problem.unit)
    kind = KINDS.get(name)
    return kind.read_gold(one.parts.answer, terms(one.task)) is not None


def _same(said: Sequence[Said], answers: Sequence[str], shop: Workshop) -> list[bool]:
    problems = [one.task.problem for one in said]
    verdicts = grade_many(
        answers,
        [one.parts.answer for one in said],
        [problem.answer_type for problem in problems],
        choices=[problem.choices for problem in problems],
        precisions=[problem.precision for problem in problems],
        units=[problem.unit for problem in problems],
        questions=[problem.question for problem in problems],
        judge=shop.judge,
    )
    return [verdict.correct for verdict in verdicts]
