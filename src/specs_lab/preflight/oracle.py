"""Answers that must earn everything, and answers that must not: whether the reward says so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from specs_lab.preflight.findings import Finding
from specs_lab.preflight.uses import Use
from specs_lab.problems.scoring import asked
from specs_lab.problems.tasks import Task
from specs_lab.rewards.format import SECTIONS, write
from specs_lab.rewards.grammar import Parts
from specs_lab.rewards.judge import Judge
from specs_lab.rewards.scoring import Asked, Helpers, Response, Score
from specs_lab.rewards.terms.accuracy import AccuracyTerm
from specs_lab.rewards.terms.format import FormatTerm

_NAMED = 5
_REASONING = "This is how the answer is found."


@dataclass
class OracleReport:
    """What became of the answers of one use.

    Attributes:
        checked: Tasks that were looked at.
        unearned: Tasks whose gold answer does not earn what it must, and what it lacks.
        given_away: Tasks where a wrong answer counts as right.
        skipped: Tasks whose answers only a judge can compare.
    """

    checked: int = 0
    unearned: dict[str, str] = field(default_factory=dict)
    given_away: dict[str, str] = field(default_factory=dict)
    skipped: int = 0


def stated(answer: str, format: str) -> str:
    """A response in a format that states an answer."""
    if format in SECTIONS:
        return write(Parts(_REASONING, answer), format)  # pyright: ignore[reportArgumentType]
    if format == "thinking_answer":
        return f"<thinking> {_REASONING} </thinking> <answer> {answer} </answer>"
    boxed = f"\\boxed{{{answer}}}"
    return f"<think> {_REASONING} </think> {boxed}" if format == "think_boxed" else f"{_REASONING} {boxed}"


def check_oracle(use: Use, tasks: Sequence[Task], judge: Judge | None) -> Finding:
    """Has a use's tasks answered rightly and wrongly, and says what the scores are.

    Args:
        use: What the tasks are used for.
        tasks: Some of its tasks, with gold answers that can be read.
        judge: Judges open answers; with a judge, these are left out: what it says is not certain.
    """
    report = examine(use, tasks, judge)
    figures = {
        "checked": report.checked,
        "unearned": len(report.unearned),
        "given_away": len(report.given_away),
        "skipped": report.skipped,
    }
    name = f"oracle: {use.name}"
    bad = {**report.given_away, **report.unearned}
    if not report.checked:
        return Finding(check=name, level="note", what="no answer can be checked without a judge", figures=figures)
    if not bad:
        what = f"{report.checked} right answers earn everything, wrong ones do not"
        return Finding(check=name, level="ok", what=what, figures=figures)
    some = "; ".join(f"{task}: {why}" for task, why in list(bad.items())[:_NAMED])
    more = f"; and {len(bad) - _NAMED} more" if len(bad) > _NAMED else ""
    share = len(bad) / report.checked
    return Finding(
        check=name,
        level="fault",
        what=f"{share:.0%} of {report.checked} tasks are scored wrongly: {some}{more}",
        fix="correct the data or their answer type, or the reward's format and terms",
        figures={**figures, "tasks": dict(list(bad.items())[:100])},
    )


def examine(use: Use, tasks: Sequence[Task], judge: Judge | None) -> OracleReport:
    """The scores of right and wrong answers; see :func:`check_oracle`."""
    report = OracleReport()
    kept = list(tasks)
    if use.suite is not None:
        graded = {task.id for task in use.suite.graded(kept)}
        report.skipped = sum(task.id not in graded for task in kept)
        kept = [task for task in kept if task.id in graded]
    kinds = [score.kind for score in _scores(use, kept, [task.problem.answer for task in kept], judge)]
    report.skipped += sum(kind == "open" for kind in kinds)
    kept = [task for task, kind in zip(kept, kinds, strict=True) if kind != "open"]
    report.checked = len(kept)
    right = _scores(use, kept, [task.problem.answer for task in kept], judge)
    wrong = _scores(use, kept, [_wrong(task) for task in kept], judge)
    for task, good, bad in zip(kept, right, wrong, strict=True):
        if lack := _lacks(task, good, use.reward):
            report.unearned[task.id] = lack
        elif bad.accuracy:
            report.given_away[task.id] = f"'{_wrong(task)}' counts as right, '{task.problem.answer}' is"
    return report


def _scores(use: Use, tasks: Sequence[Task], answers: Sequence[str], judge: Judge | None) -> Sequence[Score]:
    texts = [stated(answer, task.instruction.format) for answer, task in zip(answers, tasks, strict=True)]
    if not tasks:
        return []
    if use.suite is not None:
        return use.suite.score(texts, tasks, judge)
    if use.reward is not None:
        responses = [Response(text, tokens=1, longest=use.new_tokens) for text in texts]
        return use.reward.score(responses, [asked(task) for task in tasks], Helpers(judge=judge, answer_from=_echo))
    from specs_lab.problems.scoring import assessor

    return assessor(judge)(texts, tasks)


def _echo(items: Sequence[tuple[Asked, str]]) -> list[str]:
    """A frozen model that always answers rightly."""
    return [stated(one.gold, one.format) for one, _ in items]


def _lacks(task: Task, score: Score, reward: Any) -> str:
    """What a right answer did not earn; empty if nothing. Terms for length and the like are not looked at."""
    if not score.accuracy:
        return f"'{task.problem.answer}' in format {task.instruction.format} counts as wrong"
    if not score.format:
        return f"format {task.instruction.format} counts as missed by a response that follows it"
    for name, term in (reward.terms if reward is not None else {}).items():
        most = _most(term)
        if most is not None and name in score.terms and score.terms[name] < term.weight * most - 1e-9:
            return f"reward term '{name}' pays {score.terms[name]:g} of {term.weight * most:g}"
    return ""


def _most(term: Any) -> float | None:
    """The most that a term pays for a right answer in the requested form; None if that depends on more."""
    if isinstance(term, FormatTerm):
        return term.followed
    return 1.0 if isinstance(term, AccuracyTerm) else None


def _wrong(task: Task) -> str:
    """An answer that is not the gold answer, of its kind as far as that is easily said."""
    gold = task.problem.answer.strip()
    letters = "ABCDEFGH"
    if len(gold) == 1 and gold.upper() in letters:
        return "B" if gold.upper() == "A" else "A"
    if gold.lower() in ("yes", "no", "true", "false"):
        return {"yes": "No", "no": "Yes", "true": "False", "false": "True"}[gold.lower()]
    try:
        return f"{float(gold) * 2 + 17:g}"
    except ValueError:
        return "no such answer"
