"""Turns sampled responses into preference pairs that differ in form, and keeps account of what was dropped and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from specs_lab.core.seeding import python_rng
from specs_lab.data.constructions.self_distill import OWN, SelfDistillOptions
from specs_lab.data.records import PairRecord
from specs_lab.data.text import consistent, pollute, read, supplement
from specs_lab.problems.sources.procedural import ProceduralProblems, Task, draw_mixed_task
from specs_lab.rewards.format import follows
from specs_lab.rewards.grader import grade_many, terms_of
from specs_lab.rewards.judge import Judge
from specs_lab.rewards.kinds.base import Terms

Sample = Callable[[Sequence[Task], int], list[list[str]]]
"""Samples so many responses to each task, or fewer where some are of no use."""

_PROMPTS_AT_ONCE = 64


def build_pairs(
    options: SelfDistillOptions,
    problems: ProceduralProblems,
    sample_chosen: Sample,
    sample_rejected: Sample,
    seed: int,
    report: Callable[[int], None] = lambda _: None,
    judge: Judge | None = None,
) -> tuple[list[PairRecord], Counter[str]]:
    """Makes pairs until there are enough or too many prompts have been tried.

    Args:
        options: What makes a pair.
        problems: Where tasks come from (the training split).
        sample_chosen: Samples from the model of the chosen side.
        sample_rejected: Samples from the model of the rejected side.
        seed: Names the tasks and the choice of pollutions.
        report: Called with the number of new pairs.
        judge: Judges open answers.

    Returns:
        The pairs, and how many prompts got how far: ``prompts``, ``no_chosen``, ``no_rejected``, ``pairs``,
        ``supplemented``, ``inconsistent`` (responses) and ``pollution/<name>``.
    """
    counts: Counter[str] = Counter()
    pairs: list[PairRecord] = []
    for tasks in _task_batches(options, problems, seed):
        chosen = sample_chosen(tasks, options.chosen_samples)
        rejected = sample_rejected(tasks, options.rejected_samples)
        before = len(pairs)
        for task, good, bad in zip(tasks, chosen, rejected, strict=True):
            if len(pairs) == options.pairs:
                break
            pair = _pair(options, _graded(task, good, judge), _graded(task, bad, judge), task, seed, counts)
            if pair is not None:
                pairs.append(pair)
        report(len(pairs) - before)
        if len(pairs) == options.pairs:
            break
    counts["pairs"] = len(pairs)
    return pairs, counts


def _task_batches(options: SelfDistillOptions, problems: ProceduralProblems, seed: int) -> Iterator[list[Task]]:
    stream = f"pairs/{seed}"
    for start in range(0, options.pairs * options.max_prompts_per_pair, _PROMPTS_AT_ONCE):
        indices = range(start, min(start + _PROMPTS_AT_ONCE, options.pairs * options.max_prompts_per_pair))
        yield [draw_mixed_task(problems, options.mixture, stream, index) for index in indices]


@dataclass(frozen=True)
class _Graded:
    """A response, and whether its answer is right."""

    text: str
    correct: bool


def _terms(task: Task) -> Terms:
    return terms_of(task.problem.choices, task.problem.precision, task.problem.unit)


def _graded(task: Task, responses: Sequence[str], judge: Judge | None) -> list[_Graded]:
    problem, count = task.problem, len(responses)
    verdicts = grade_many(
        responses,
        [problem.answer] * count,
        [problem.answer_type] * count,
        choices=[problem.choices] * count,
        precisions=[problem.precision] * count,
        units=[problem.unit] * count,
        questions=[problem.question] * count,
        judge=judge,
    )
    return [_Graded(text, verdict.correct) for text, verdict in zip(responses, verdicts, strict=True)]


def _pair(
    options: SelfDistillOptions,
    good: Sequence[_Graded],
    bad: Sequence[_Graded],
    task: Task,
    seed: int,
    counts: Counter[str],
) -> PairRecord | None:
    counts["prompts"] += 1
    chosen = _choose(options, task, good, counts)
    if chosen is None:
        counts["no_chosen"] += 1
        return None
    rejected = _reject(options, task, bad, seed)
    if rejected is None:
        counts["no_rejected"] += 1
        return None
    response, supplemented = chosen
    spoilt, pollution = rejected
    counts[f"pollution/{pollution}"] += 1
    counts["supplemented"] += supplemented
    return PairRecord(
        id=task.id,
        cell=task.cell,
        family=task.problem.family,
        image=task.problem.image,
        prompt=task.text,
        chosen=response,
        rejected=spoilt,
        answer=task.problem.answer,
        pollution=pollution,
        supplemented=supplemented,
    )


def _choose(
    options: SelfDistillOptions, task: Task, responses: Sequence[_Graded], counts: Counter[str]
) -> tuple[str, bool] | None:
    """The first usable response in the requested format, and whether its form had to be completed."""
    for graded in responses:
        response, parts = graded.text, read(graded.text)
        if parts is None or not graded.correct:
            continue
        if options.check_consistency and not consistent(*parts, task.problem.answer_type, _terms(task)):
            counts["inconsistent"] += 1
            continue
        if follows(response, task.instruction.format):
            return response, False
        if options.supplement_format:
            return supplement(*parts, task.instruction.format), True
    return None


def _reject(options: SelfDistillOptions, task: Task, responses: Sequence[_Graded], seed: int) -> tuple[str, str] | None:
    """The first usable response as the rejected side, and the name of how it misses the format."""
    for graded in responses:
        response, parts = graded.text, read(graded.text)
        if parts is None or graded.correct != (options.coupling == "decoupled"):
            continue
        if options.rejected_form == "polluted":
            names = sorted(options.pollutions)
            rng = python_rng("pollution", seed, task.id)
            name = rng.choices(names, [options.pollutions[name] for name in names])[0]
            return pollute(name, *parts, task.instruction.format), name
        if not follows(response, task.instruction.format):
            return response, OWN
    return None
