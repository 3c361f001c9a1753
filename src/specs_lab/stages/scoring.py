"""What stage runners share of scoring: the judge, and gold answers checked before work begins."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from specs_lab.core.errors import Fault, raise_faults
from specs_lab.evaluation.judges.none import NoJudge
from specs_lab.problems.scoring import asked
from specs_lab.problems.tasks import Task
from specs_lab.rewards.golds import GoldReport, check_golds, gold_faults
from specs_lab.rewards.judge import Judge
from specs_lab.stages.context import StageContext


def judge_of(context: StageContext) -> Judge | None:
    """The judge that is configured, if any."""
    return context.options["judge"].make()


def rl_stream(seed: int, mixture: Sequence[str]) -> str:
    """The name of the tasks that RL trains on."""
    return f"rl/{seed}/{'+'.join(mixture)}"


def open_without_judge(report: GoldReport, judge: Any, where: str) -> list[Fault]:
    """A fault if gold answers are open and nobody is configured to judge them."""
    if not report.kinds["open"] or not isinstance(judge, NoJudge):
        return []
    what = f"{report.kinds['open']} gold answers of {where} are open, and nobody judges open answers"
    return [Fault("judge", what, "choose a judge, e.g. judge=endpoint, or another answer type")]


def require_golds(context: StageContext, tasks: Iterable[Task], count: int) -> None:
    """Checks the gold answers of tasks before anything is trained on them or measured by them.

    Raises:
        UserError: Naming the tasks whose gold answer is none of its type; also if some are open and there is no judge.
    """
    with context.progress.task(f"{context.name}: gold answers", count) as advance:
        report = check_golds(map(asked, tasks), advance)
    where = f"stage {context.name}"
    raise_faults(gold_faults(report, where) + open_without_judge(report, context.options["judge"], where))
