"""MEGA-Bench (arXiv 2410.10563), the core set: 440 tasks whose answers rules can score; dataset TIGER-Lab/MEGA-Bench.

Its pictures are files named by paths, relative to the folder in which the dataset's archive of data is unpacked.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import PurePosixPath
from typing import Any, ClassVar

from specs_lab.core.pictures import IMAGE_MARKER
from specs_lab.evaluation.benchmarks.base import BENCHMARKS, Benchmark, Item, Parts, Scored
from specs_lab.evaluation.benchmarks.cells import text_in
from specs_lab.evaluation.benchmarks.literals import LONGEST_IN_DATA, NotLiteral, literal
from specs_lab.evaluation.benchmarks.mega_bench.plan import needs_context, plan_of
from specs_lab.evaluation.benchmarks.mega_bench.values import mean
from specs_lab.problems.rows import BrokenRow, ProblemRow
from specs_lab.rewards.grader import Verdict
from specs_lab.rewards.judge import Judge

_PARTS = (("task_description", "global_media"), ("example_text", "example_media"), ("query_text", "query_media"))
"""Columns of texts and of their media, in the order in which they are shown."""
_VIDEOS = frozenset({".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".flv", ".wmv", ".mpg", ".mpeg"})
_VIDEO_MARK = "<video>"
_DIMENSIONS = {
    "application": "application",
    "app": "application",
    "input_format": "input_format",
    "output_format": "output_format",
    "num_input": "num_input",
    "skills": "skill",
}
"""Columns by which tasks are grouped, where a table has them, and what the groups are called."""


@BENCHMARKS.register("mega_bench")
class MegaBench(Benchmark):
    """MEGA-Bench, configs ``core`` and ``core_single_image``, split ``test``."""

    name: ClassVar[str] = "mega_bench"
    uses_grader: ClassVar[bool] = False

    def read(self, row: Mapping[str, Any]) -> Item:
        """Reads a row: what the task is, its example, and the query, each with its pictures.

        Raises:
            BrokenRow: ``no_id``, ``no_task_name``, ``no_query_text``, ``no_answer`` or ``no_metric_info`` for lack of
                these, ``video``, ``bad_media``, ``image_markers`` or ``no_image`` for the media; and see
                :func:`~specs_lab.evaluation.benchmarks.mega_bench.plan.plan_of`.
        """
        name, task = text_in(row, "id"), text_in(row, "task_name")
        text_in(row, "query_text")
        info, answer = _literal_in(row, "metric_info"), _literal_in(row, "answer")
        context = _literal_in(row, "eval_context", blank=True) if needs_context(info) else ""
        plan = plan_of(info, answer, context)
        text, media = _laid_out(row)
        groups = {label: sorted({*_labels_in(row, column)}) for column, label in _DIMENSIONS.items() if row.get(column)}
        golds = [str(value) for value in plan.answer.values()]
        problem = ProblemRow(
            id=name,
            question=text,
            answer=golds[0] if len(golds) == 1 and golds[0].strip() else answer,
            images=media,
            family=task,
            about={label: ", ".join(names) for label, names in groups.items()},
        )
        extra = {"task": task, "metric_info": info, "answer": answer, "eval_context": context, "groups": groups}
        return Item(row=problem, extra=extra)

    def ask(self, item: Item) -> str:
        """The task, its example and the query as the dataset writes them; these also say how to answer."""
        return item.row.question

    def score(self, item: Item, response: str, judge: Judge | None) -> Verdict:
        """By the metrics that the row names; no judge is asked. Right is what scores 1."""
        del judge
        extra = item.extra
        return plan_of(extra["metric_info"], extra["answer"], extra["eval_context"]).score(response)

    def unit(self, item: Item) -> str:
        """The task, whose rows are alike."""
        return item.extra["task"]

    def parts(self, scored: Scored) -> Parts:
        """Means of the tasks' mean scores: over all tasks (``macro``, the public result), and over those of each group.

        ``micro`` is the mean score of rows.
        """
        tasks: dict[str, list[float]] = {}
        groups: dict[str, set[str]] = {}
        for item, verdict in scored:
            task = item.extra["task"]
            tasks.setdefault(task, []).append(verdict.score)
            for label, names in item.extra["groups"].items():
                for name in names:
                    groups.setdefault(f"{label}/{name}", set()).add(task)
        means = {task: (mean(scores), 1.0) for task, scores in sorted(tasks.items())}
        found: dict[str, list[tuple[float, float]]] = {"macro": list(means.values())}
        found["micro"] = [(sum(scores), float(len(scores))) for scores in tasks.values()]
        return {**found, **{group: [means[task] for task in sorted(groups[group])] for group in sorted(groups)}}


def _literal_in(row: Mapping[str, Any], column: str, *, blank: bool = False) -> str:
    """The literal in a cell as text, which is how the dataset holds it."""
    value = row.get(column)
    return repr(value) if isinstance(value, Mapping) else text_in(row, column, blank=blank)


def _labels_in(row: Mapping[str, Any], column: str) -> Iterator[str]:
    value = row[column]
    if isinstance(value, str) and value.strip().startswith("["):
        with suppress(NotLiteral):  # a name in brackets
            value = literal(value)
    yield from (map(str, value) if isinstance(value, list | tuple) else [str(value)])


def _laid_out(row: Mapping[str, Any]) -> tuple[str, tuple[Any, ...]]:
    """The text of the prompt with a mark for each picture, and the pictures."""
    texts: list[str] = []
    pictures: list[Any] = []
    for text_column, media_column in _PARTS:
        text, media = text_in(row, text_column, blank=True), _media_in(row, media_column)
        if _VIDEO_MARK in text or any(_is_video(one) for one in media):
            raise BrokenRow("video", f"{media_column} has a video")
        if text.count(IMAGE_MARKER) != len(media):
            what = f"{text_column} has places for {text.count(IMAGE_MARKER)} pictures, {media_column} has {len(media)}"
            raise BrokenRow("image_markers", what)
        texts += [text] if text else []
        pictures += media
    if not pictures:
        raise BrokenRow("no_image", "has no picture")
    return "\n".join(texts), tuple(pictures)


def _media_in(row: Mapping[str, Any], column: str) -> Sequence[Any]:
    """The files that a cell names, or holds: a list, or the text of one."""
    value = row.get(column)
    if isinstance(value, str):
        try:
            value = literal(value, LONGEST_IN_DATA) if value.strip() else []
        except NotLiteral as error:
            raise BrokenRow("bad_media", f"{column}: {error}") from error
    if value is None:
        return ()
    if not isinstance(value, list | tuple) or not all(isinstance(one, str | bytes | Mapping) for one in value):
        raise BrokenRow("bad_media", f"{column} is no list of files")
    return list(value)


def _is_video(file: Any) -> bool:
    path = file.get("path") if isinstance(file, Mapping) else file
    return isinstance(path, str) and PurePosixPath(path).suffix.lower() in _VIDEOS
