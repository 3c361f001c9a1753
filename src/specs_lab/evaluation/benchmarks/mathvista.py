"""MathVista (arXiv 2310.02255): options, integers, decimals of a given precision, lists; dataset AI4Math/MathVista."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from specs_lab.evaluation.benchmarks.answers import judge_answer
from specs_lab.evaluation.benchmarks.base import BENCHMARKS, Benchmark, Item, Parts, Scored, accuracy_parts
from specs_lab.evaluation.benchmarks.cells import (
    letter_at,
    lettered,
    picture_in,
    struct_in,
    text_in,
    texts_in,
    with_readable_gold,
    without_marks,
)
from specs_lab.problems.rows import BrokenRow, ProblemRow
from specs_lab.rewards.grader import Verdict
from specs_lab.rewards.judge import Judge

_KINDS = {"integer": "integer", "float": "number", "list": "list", "text": None}
"""The type of a free answer by ``answer_type``."""
_PLACES = {1: ("one decimal place", "1.2, 1.3, 1.4"), 2: ("two decimal places", "1.23, 1.34, 1.45")}
_MOST_DECIMALS = 12
_GROUPS = ("task", "category", "context", "grade", "source")


@BENCHMARKS.register("mathvista")
class MathVista(Benchmark):
    """MathVista, splits ``testmini`` (1000) and ``test`` (no answers)."""

    name: ClassVar[str] = "mathvista"

    def read(self, row: Mapping[str, Any]) -> Item:
        """Reads a row; the option that equals ``answer`` is the gold one."""
        id, question = text_in(row, "pid"), without_marks(text_in(row, "question"))
        answer, choices = text_in(row, "answer"), texts_in(row, "choices")
        question_type, answer_type = text_in(row, "question_type"), text_in(row, "answer_type")
        if question_type == "multi_choice":
            if answer not in choices:
                raise BrokenRow("gold_no_option", f"the answer {answer[:80]!r} is none of the {len(choices)} options")
            answer, kind = letter_at(choices.index(answer)), "choice"
        elif question_type == "free_form" and answer_type in _KINDS:
            choices, kind = (), _KINDS[answer_type]
        else:
            raise BrokenRow("unknown_type", f"question_type '{question_type}' with answer_type '{answer_type}'")
        about = struct_in(row, "metadata")
        problem = ProblemRow(
            id=id,
            question=question,
            answer=answer,
            images=(picture_in(row, "decoded_image", "image"),),
            kind=kind,
            choices=choices,
            precision=_precision(row) if kind == "number" else None,
            unit=text_in(row, "unit", blank=True) or None,
            family=str(about.get("task") or ""),
            about={name: str(about[name]) for name in _GROUPS if about.get(name)},
        )
        extra = {
            "query": without_marks(text_in(row, "query", blank=True)),
            "question_type": question_type,
            "answer_type": answer_type,
            "skills": [str(skill) for skill in about.get("skills") or ()],
        }
        return Item(row=with_readable_gold(problem), extra=extra)

    def ask(self, item: Item) -> str:
        """The dataset's own ``query``; where it has none, the same text made of its parts."""
        return item.extra["query"] or _query(item)

    def score(self, item: Item, response: str, judge: Judge | None) -> Verdict:
        """By the type of the answer; a decimal within half a unit of its last place."""
        return judge_answer(item.row, response, judge)

    def parts(self, scored: Scored) -> Parts:
        """Accuracy by question type, answer type, task, skill and whatever else the metadata group rows by."""
        return accuracy_parts(scored, _labels)


def _labels(item: Item) -> Iterator[str]:
    yield f"question_type/{item.extra['question_type']}"
    yield f"answer_type/{item.extra['answer_type']}"
    yield from (f"{name}/{value}" for name, value in item.row.about.items())
    yield from (f"skill/{skill}" for skill in item.extra["skills"])


def _precision(row: Mapping[str, Any]) -> float:
    value = row.get("precision")
    if not isinstance(value, (int, float)) or not 0 <= value <= _MOST_DECIMALS or value != int(value):
        raise BrokenRow("bad_precision", f"precision {value!r} is no number of decimals")
    return float(value)


def _query(item: Item) -> str:
    row, answer_type = item.row, item.extra["answer_type"]
    if row.kind == "choice":
        hint = "Please answer the question and provide the correct option letter, e.g., A, B, C, D, at the end."
    elif answer_type == "integer":
        hint = (
            "Please answer the question requiring an integer answer and provide the final value, e.g., 1, 2, 3, at the "
            "end."
        )
    elif answer_type == "float":
        places, examples = _PLACES.get(int(row.precision or 0), (f"{int(row.precision or 0)} decimal places", "1.234"))
        hint = (
            f"Please answer the question requiring a floating-point number with {places} and provide the final value, "
            f"e.g., {examples}, at the end."
        )
    elif answer_type == "list":
        hint = (
            "Please answer the question requiring a Python list as an answer and provide the final list, e.g., "
            "[1, 2, 3], [1.2, 1.3, 1.4], at the end."
        )
    else:
        hint = "Please answer the question and provide the final answer at the end."
    unit = f" (Unit: {row.unit})" if row.unit else ""
    options = f"\nChoices:\n{lettered(row.choices)}" if row.choices else ""
    return f"Hint: {hint}\nQuestion: {row.question}{unit}{options}"
