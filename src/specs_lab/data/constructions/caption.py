"""Caption CoT (Wei et al., arXiv 2505.22334): describe the picture, then solve."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from specs_lab.core.options import option
from specs_lab.core.quoting import verdict
from specs_lab.data.constructions.base import Draft
from specs_lab.data.taught import Taught
from specs_lab.data.workshop import Workshop
from specs_lab.problems.tasks import Task


@option("data", "caption")
@dataclass(kw_only=True)
class Caption(Taught):
    """A teacher's description of the picture, followed by its first right solution."""

    def drafts(self, tasks: Sequence[Task], shop: Workshop) -> list[Draft | None]:
        """The two of each task; none without a description (``no_caption``) and a right solution (``no_right``)."""
        captions = [verdict(text) for text in self.teacher.caption(tasks, shop, self.drawing)]
        drafts: list[Draft | None] = []
        for task, caption, attempts in zip(tasks, captions, self.attempts(tasks, shop), strict=True):
            right = next((one.parts for one in attempts if one.correct), None)
            if caption and right is not None:
                drafts.append(self.finished(task, [caption, right.reasoning], right.answer, shop))
                continue
            shop.counts["no_right" if caption else "no_caption"] += 1
            drafts.append(None)
        return drafts
