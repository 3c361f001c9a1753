"""MathVerse (arXiv 2403.14624): each problem in several versions that move its content from the text to the picture.

Dataset AI4Math/MathVerse, split ``testmini``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from specs_lab.evaluation.benchmarks.answers import judge_answer
from specs_lab.evaluation.benchmarks.base import BENCHMARKS, Benchmark, Item, Parts, Scored, accuracy_parts
from specs_lab.evaluation.benchmarks.cells import (
    letter_at,
    picture_in,
    struct_in,
    text_in,
    with_readable_gold,
    without_marks,
)
from specs_lab.problems.rows import BrokenRow, ProblemRow
from specs_lab.rewards.grader import Verdict
from specs_lab.rewards.judge import Judge

VERSIONS = ("Text Dominant", "Text Lite", "Vision Intensive", "Vision Dominant", "Vision Only")
"""The versions of a problem that have a picture."""
TEXT_ONLY = "Text Only"
"""The version without one; it is asked without a picture."""
_OPTION = re.compile(r"^\s*\(?([A-Z])\s*[:.)]\s*(.*\S)\s*$", re.MULTILINE)
_CHOICES = re.compile(r"\bChoices?\s*:", re.IGNORECASE)


@BENCHMARKS.register("mathverse")
class MathVerse(Benchmark):
    """MathVerse: every row is a problem in one version."""

    name: ClassVar[str] = "mathverse"

    def read(self, row: Mapping[str, Any]) -> Item:
        """Reads a row. A question may be blank where it stands in the picture."""
        version, question_type = text_in(row, "problem_version"), text_in(row, "question_type")
        if version not in (*VERSIONS, TEXT_ONLY):
            raise BrokenRow("unknown_version", f"there is no version '{version}'")
        if question_type not in ("multi-choice", "free-form"):
            raise BrokenRow("unknown_type", f"question_type '{question_type}'")
        question = without_marks(text_in(row, "question", blank=version == "Vision Only"))
        query = without_marks(text_in(row, "query_cot", blank=bool(question)))
        several = question_type == "multi-choice"
        whole = text_in(row, "question_for_eval", blank=True) or question
        choices = options_in(whole) if several else ()
        answer = text_in(row, "answer")
        if several and choices and not (len(answer) == 1 and "A" <= answer <= letter_at(len(choices) - 1)):
            raise BrokenRow("gold_no_option", f"the answer {answer[:80]!r} is none of the {len(choices)} options")
        about = struct_in(row, "metadata")
        problem = ProblemRow(
            id=text_in(row, "sample_index"),
            question=question or without_marks(whole),
            answer=answer,
            images=() if version == TEXT_ONLY else (picture_in(row, "image"),),
            kind="choice" if several else None,
            choices=choices,
            family=str(about.get("subject") or ""),
            about={name: str(about[name]) for name in ("subject", "subfield", "source") if about.get(name)},
        )
        extra = {
            "query": query,
            "question_type": question_type,
            "version": version,
            "problem_index": text_in(row, "problem_index"),
        }
        return Item(row=with_readable_gold(problem), extra=extra)

    def ask(self, item: Item) -> str:
        """The dataset's own ``query_cot``; where it has none, the same text made of its parts."""
        return item.extra["query"] or _query(item)

    def score(self, item: Item, response: str, judge: Judge | None) -> Verdict:
        """Options by letter, text or value; free answers by their type."""
        return judge_answer(item.row, response, judge)

    def unit(self, item: Item) -> str:
        """The problem, which comes in several versions."""
        return item.extra["problem_index"]

    def parts(self, scored: Scored) -> Parts:
        """Accuracy by version, question type, subject and subfield, and by version and subject at once."""
        return accuracy_parts(scored, _labels, self.unit)


def _labels(item: Item) -> Iterator[str]:
    version, about = item.extra["version"], item.row.about
    yield f"version/{version}"
    yield f"question_type/{item.extra['question_type']}"
    if "subject" in about:
        yield f"subject/{about['subject']}"
        yield f"version x subject/{version}/{about['subject']}"
    if "subfield" in about:
        yield f"subfield/{about['subfield']}"


def options_in(question: str) -> tuple[str, ...]:
    """The options' texts that stand behind "Choices:", A first; none if they are not lettered in order."""
    parts = _CHOICES.split(question)
    found = _OPTION.findall(parts[-1]) if len(parts) > 1 else []
    in_order = len(found) > 1 and all(letter == letter_at(index) for index, (letter, _) in enumerate(found))
    return tuple(text for _, text in found) if in_order else ()


def _query(item: Item) -> str:
    form = "correct option letter, e.g., A, B, C, D" if item.row.kind == "choice" else "final value, e.g., 1, 2.5, 300"
    return (
        f"Please first conduct reasoning, and then answer the question and provide the {form}, at the end.\n"
        f"Question: {item.row.question}"
    )
