"""The six steps by which VLAA-Thinking (arXiv 2504.11468) made its data: for SFT, and put aside for RL.

1. Metadata: question, gold answer and picture. 2. The picture is described. 3. A text reasoner, which does not see the
picture, writes a reasoning from description and question. 4. The reasoning is rewritten as if it saw the picture;
dropped if that changes its length by more than 15 words. 5. Verified: right, and consistent. 6. Split: reasonings that
turn back ("wait", "check") go to RL, the others to the cold start.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from specs_lab.core.options import Checks, option
from specs_lab.core.quoting import verdict
from specs_lab.data.consistency.agreement import Agreement
from specs_lab.data.consistency.base import Consistency, Said
from specs_lab.data.constructions.base import KEPT, NONE, Draft, FromTasks
from specs_lab.data.teachers.base import Teacher
from specs_lab.data.teachers.solver import SolverTeacher
from specs_lab.data.text import read, supplement
from specs_lab.data.workshop import Workshop
from specs_lab.metrics.reflections import has_aha
from specs_lab.problems.tasks import Task
from specs_lab.rewards.format import Parts, follows

RL = "rl"
"""The bucket of tasks that are put aside for RL."""
_LONGEST_SHIFT = 15
_CAPTION = r"(?:image |picture )?(?:caption|description)"
_SAYS = r"(?:says?|states?|mentions?|describes?|shows?|tells us)(?: that)?"
_SOURCE = re.compile(
    rf"\b(?:(?:according to|based on|from|by|in|as stated in) the {_CAPTION}\b[,:]?|the {_CAPTION} {_SAYS}\b[,:]?)\s*",
    re.IGNORECASE,
)
_CAPTION_WORD = re.compile(rf"\b{_CAPTION}(s?)\b", re.IGNORECASE)
_DESCRIBED = re.compile(r"\b(?:caption|description)s?\b", re.IGNORECASE)


def uncaptioned(reasoning: str) -> str:
    """Without words that say it follows a description: phrases go, and other mentions become ``picture``."""
    return " ".join(_CAPTION_WORD.sub(r"picture\1", _SOURCE.sub("", reasoning)).split())


@option("data", "vlaa")
@dataclass(kw_only=True)
class Vlaa(FromTasks):
    """Data for SFT without, and tasks for RL with, reasonings that turn back.

    Deviations: one teacher does what the paper shares out among three models, and steps 4 and 5 go by rule unless
    ``rewrite_prompt`` and ``consistency`` say otherwise.

    Attributes:
        teacher: A choice of the group ``teacher``.
        consistency: Verifies, beside the grader; a choice of the group ``consistency``.
        rewrite_prompt: Asks the teacher to rewrite ``{reasoning}``; empty: by rule.
        rl_tasks: Tasks to put aside for RL, at least; more prompts are tried until there are as many.
    """

    teacher: Teacher = field(default_factory=SolverTeacher)
    consistency: Consistency = field(default_factory=Agreement)
    rewrite_prompt: str = ""
    rl_tasks: int = 128
    rejected_form: str = NONE

    def checks(self) -> Checks:
        """The checks of all settings."""
        asks = bool(self.rewrite_prompt)
        checks = super().checks().at_least("rl_tasks", self.rl_tasks, 0)
        there = not asks or "{reasoning}" in self.rewrite_prompt
        checks.that(there, "rewrite_prompt", "has no place for the reasoning", "write {reasoning} where it belongs")
        able = not asks or self.teacher.replies
        fix = "choose another teacher, such as model or endpoint, or leave rewrite_prompt empty"
        return checks.that(able, "rewrite_prompt", "the teacher answers tasks only", fix)

    def reads(self) -> tuple[str, ...]:
        """The models of the teacher, of the check and of the rejected side."""
        return tuple(dict.fromkeys([*self.teacher.reads(), *self.consistency.reads(), *super().reads()]))

    @property
    def buckets(self) -> tuple[str, ...]:
        """Those of pairs, and those put aside for RL."""
        return (*super().buckets, RL)

    def enough(self, made: int, shop: Workshop) -> bool:
        """Whether there are enough pairs and enough tasks for RL."""
        return super().enough(made, shop) and len(shop.others) >= self.rl_tasks

    def drafts(self, tasks: Sequence[Task], shop: Workshop) -> list[Draft | None]:
        """What becomes of each task; ``step/…`` counts those that passed a step, and why others did not is counted."""
        shop.counts["step/metadata"] += len(tasks)
        written = self._verified(tasks, self._rewritten(tasks, self._distilled(tasks, shop), shop), shop)
        drafts: list[Draft | None] = [None] * len(tasks)
        for place, parts in written.items():
            text = supplement(*parts, tasks[place].instruction.format)
            bucket = RL if has_aha(parts.reasoning, "vlaa") else KEPT
            shop.counts[f"step/split/{bucket}"] += 1
            drafts[place] = Draft(text=text, source=self.teacher.source, bucket=bucket)
        return drafts

    def _distilled(self, tasks: Sequence[Task], shop: Workshop) -> dict[int, Parts]:
        """Steps 2 and 3: what the reasoner makes of the descriptions, by place of the task."""
        described = {
            place: caption
            for place, text in enumerate(self.teacher.caption(tasks, shop, self.drawing))
            if (caption := verdict(text))
        }
        shop.counts["no_caption"] += len(tasks) - len(described)
        shop.counts["step/caption"] += len(described)
        asked = [tasks[place] for place in described]
        responses = self.teacher.write_unseen(asked, list(described.values()), shop, 1, self.drawing)
        found = {
            place: parts
            for place, texts in zip(described, responses, strict=True)
            if texts and (parts := read(texts[0])) is not None
        }
        shop.counts["no_reasoning"] += len(described) - len(found)
        shop.counts["step/distil"] += len(found)
        return found

    def _rewritten(self, tasks: Sequence[Task], written: dict[int, Parts], shop: Workshop) -> dict[int, Parts]:
        """Step 4."""
        found = {}
        texts = self._rewrites([tasks[place] for place in written], list(written.values()), shop)
        for (place, parts), text in zip(written.items(), texts, strict=True):
            if not text or abs(len(text.split()) - len(parts.reasoning.split())) > _LONGEST_SHIFT:
                shop.counts["rewritten_too_much"] += 1
            elif _DESCRIBED.search(text):
                shop.counts["still_a_caption"] += 1
            else:
                found[place] = Parts(text, parts.answer)
        shop.counts["step/rewrite"] += len(found)
        return found

    def _rewrites(self, tasks: Sequence[Task], written: Sequence[Parts], shop: Workshop) -> list[str]:
        if not self.rewrite_prompt:
            return [uncaptioned(parts.reasoning) for parts in written]
        questions = [
            replace(
                shop.question(task, "rewrite", self.rewrite_prompt.replace("{reasoning}", parts.reasoning)),
                images=(),
                image_key="",
            )
            for task, parts in zip(tasks, written, strict=True)
        ]
        return [verdict(reply) for reply in self.teacher.reply(questions, shop, self.drawing)]

    def _verified(self, tasks: Sequence[Task], written: dict[int, Parts], shop: Workshop) -> dict[int, Parts]:
        """Step 5."""
        right = {}
        for place, parts in written.items():
            format = tasks[place].instruction.format
            text = supplement(*parts, format)
            if not follows(text, format):
                shop.counts["malformed"] += 1
            elif not shop.correct(tasks[place], [text])[0]:
                shop.counts["wrong"] += 1
            else:
                right[place] = parts
        kept = self.consistency.keep([Said(tasks[place], parts) for place, parts in right.items()], shop)
        found = {place: parts for (place, parts), keep in zip(right.items(), kept, strict=True) if keep}
        shop.counts["inconsistent"] += len(right) - len(found)
        shop.counts["step/verify"] += len(found)
        return found
