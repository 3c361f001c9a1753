"""Scores many responses with one round of questions to the judge, since most judges are models or servers."""

from __future__ import annotations

from collections.abc import Sequence

from specs_lab.evaluation.benchmarks.base import Benchmark, Item
from specs_lab.rewards.grader import Verdict
from specs_lab.rewards.judge import Judge, Judged


class _Recorder:
    """Notes what a judge would be asked, and says that every answer is worth nothing."""

    def __init__(self, threshold: float) -> None:
        self.threshold = threshold
        self.asked: list[Judged] = []

    def __call__(self, answers: Sequence[Judged]) -> list[float]:
        self.asked += answers
        return [0.0] * len(answers)


class _Known:
    """Repeats what a judge has said."""

    def __init__(self, values: dict[Judged, float], threshold: float) -> None:
        self.threshold = threshold
        self._values = values

    def __call__(self, answers: Sequence[Judged]) -> list[float]:
        return [self._values[answer] for answer in answers]


def score_all(
    benchmark: Benchmark, items: Sequence[Item], responses: Sequence[str], judge: Judge | None
) -> list[Verdict]:
    """The verdict on each response, as :meth:`Benchmark.score` gives it.

    The rules are run twice where a judge is asked: first to learn what it is asked, then with what it said.

    Args:
        benchmark: The rules.
        items: What was asked.
        responses: The response to each.
        judge: Judges open answers.
    """
    if judge is None:
        return [benchmark.score(item, response, None) for item, response in zip(items, responses, strict=True)]
    threshold = getattr(judge, "threshold", 0.5)  # a plain function may have none
    verdicts: list[Verdict] = []
    waiting: list[int] = []
    asked: dict[Judged, None] = {}
    for index, (item, response) in enumerate(zip(items, responses, strict=True)):
        recorder = _Recorder(threshold)
        verdicts.append(benchmark.score(item, response, recorder))
        if recorder.asked:
            waiting.append(index)
            asked.update(dict.fromkeys(recorder.asked))
    said = judge(list(asked)) if asked else []
    known = _Known(dict(zip(asked, said, strict=True)), threshold)
    for index in waiting:
        verdicts[index] = benchmark.score(items[index], responses[index], known)
    return verdicts
