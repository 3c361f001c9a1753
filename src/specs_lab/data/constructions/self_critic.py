"""Self-critic CoT (Wei et al., arXiv 2505.22334): a draft, a critique of it, and what was made of both.

Deviation: in the paper the teacher writes all three. Here the critique is by default a sentence that says whether an
independent second attempt agrees, and the refined solution is another attempt, written without having seen the draft;
``critique_prompt`` has the teacher write the critique.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from specs_lab.core.options import Checks, option
from specs_lab.core.quoting import verdict
from specs_lab.data.constructions.base import Draft
from specs_lab.data.taught import Attempt, Taught
from specs_lab.data.workshop import Question, Workshop
from specs_lab.problems.tasks import Task


@option("data", "self_critic")
@dataclass(kw_only=True)
class SelfCritic(Taught):
    """A teacher's first attempt, a critique, and its next right attempt.

    Attributes:
        critique_prompt: Asks the teacher for the critique; ``{question}`` and ``{draft}`` are replaced. Empty: the
            critique says whether the second attempt agrees.
    """

    critique_prompt: str = ""

    def checks(self) -> Checks:
        """The checks of all settings."""
        asks = bool(self.critique_prompt)
        checks = super().checks().at_least("chosen_samples", self.chosen_samples, 2)
        there = not asks or "{draft}" in self.critique_prompt
        checks.that(there, "critique_prompt", "has no place for the draft", "write {draft} where it belongs")
        able = not asks or self.teacher.replies
        fix = "choose another teacher, such as model or endpoint, or leave critique_prompt empty"
        return checks.that(able, "critique_prompt", "the teacher answers tasks only", fix)

    def drafts(self, tasks: Sequence[Task], shop: Workshop) -> list[Draft | None]:
        """The three parts of each task.

        None without two attempts (``no_draft``), without a right one (``no_right``), if the first two agree on what is
        wrong (``misled``), and without a critique (``no_critique``).
        """
        drafts: list[Draft | None] = [None] * len(tasks)
        usable = {
            place: attempts for place, attempts in enumerate(self.attempts(tasks, shop)) if self._usable(attempts, shop)
        }
        critiques = self._critiques([(tasks[place], attempts) for place, attempts in usable.items()], shop)
        for (place, attempts), critique in zip(usable.items(), critiques, strict=True):
            if not critique:
                shop.counts["no_critique"] += 1
                continue
            draft, *others = attempts
            refined = next(one.parts for one in (*others, draft) if one.correct)
            said = [f"Draft: {draft.parts.reasoning}", f"Critique: {critique}", f"Refined: {refined.reasoning}"]
            drafts[place] = self.finished(tasks[place], said, refined.answer, shop)
        return drafts

    @staticmethod
    def _usable(attempts: Sequence[Attempt], shop: Workshop) -> bool:
        if len(attempts) < 2:
            why = "no_draft"
        elif not any(one.correct for one in attempts):
            why = "no_right"
        elif not attempts[0].correct and _agree(*attempts[:2]):
            why = "misled"
        else:
            return True
        shop.counts[why] += 1
        return False

    def _critiques(self, drafted: Sequence[tuple[Task, Sequence[Attempt]]], shop: Workshop) -> list[str]:
        """A critique of each first attempt."""
        for _, attempts in drafted:
            shop.counts["critique/agrees" if _agree(*attempts[:2]) else "critique/disagrees"] += 1
        if not self.critique_prompt:
            return [_critique(*attempts[:2]) for _, attempts in drafted]
        questions = [self._question(task, attempts[0], shop) for task, attempts in drafted]
        return [verdict(reply) for reply in self.teacher.reply(questions, shop, self.drawing)]

    def _question(self, task: Task, draft: Attempt, shop: Workshop) -> Question:
        # The draft last: what it says in braces is no place.
        before, _, after = self.critique_prompt.partition("{draft}")
        written = f"{draft.parts.reasoning}. Answer: {draft.parts.answer}"
        before, after = (part.replace("{question}", task.problem.question) for part in (before, after))
        return shop.question(task, "critique", f"{before}{written}{after}")


def _agree(draft: Attempt, second: Attempt) -> bool:
    """Whether two attempts answer the same: both rightly, or the same words."""
    words = {" ".join(one.parts.answer.split()).casefold() for one in (draft, second)}
    return (draft.correct and second.correct) or len(words) == 1


def _critique(draft: Attempt, second: Attempt) -> str:
    if _agree(draft, second):
        return "a second try agrees."
    return f"a second try reads {second.parts.answer}, so check again."
