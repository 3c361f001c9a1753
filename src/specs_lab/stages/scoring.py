"""What stage runners share of scoring: the judge, and gold answers checked before work begins."""

from __future__ import annotations

from collections.abc import Iterable

from specs_lab.core.errors import raise_faults
from specs_lab.problems.sources.procedural import Task
from specs_lab.rewards.golds import check_golds, gold_faults
from specs_lab.rewards.judge import Judge
from specs_lab.rewards.tasks import asked
from specs_lab.stages.context import StageContext


def judge_of(context: StageContext) -> Judge | None:
    """The judge that is configured, if any."""
    return context.options["judge"].make()


def require_golds(context: StageContext, tasks: Iterable[Task], count: int) -> None:
    """Checks the gold answers of tasks before anything is trained on them or measured by them.

    Raises:
        UserError: Naming the tasks whose gold answer is none of its type.
    """
    with context.progress.task(f"{context.name}: gold answers", count) as advance:
        report = check_golds(map(asked, tasks), advance)
    raise_faults(gold_faults(report, f"stage {context.name}"))
