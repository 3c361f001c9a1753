"""MathVision (arXiv 2402.14804): competition problems of five levels and 16 subjects; dataset MathLLMs/MathVision."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from specs_lab.core.pictures import IMAGE_MARKER
from specs_lab.evaluation.benchmarks.answers import judge_answer
from specs_lab.evaluation.benchmarks.base import BENCHMARKS, Benchmark, Item, Parts, Scored, accuracy_parts
from specs_lab.evaluation.benchmarks.cells import (
    letter_at,
    lettered,
    picture_in,
    text_in,
    texts_in,
    with_readable_gold,
)
from specs_lab.problems.rows import BrokenRow, ProblemRow
from specs_lab.rewards.grader import Verdict
from specs_lab.rewards.judge import Judge

LEVELS = ("1", "2", "3", "4", "5")
_PICTURE = re.compile(r"<image\d*>")
_LETTERS = "ABCDEFGHIJ"


@BENCHMARKS.register("mathvision")
class MathVision(Benchmark):
    """MathVision, splits ``test`` (3040) and ``testmini`` (304)."""

    name: ClassVar[str] = "mathvision"

    def read(self, row: Mapping[str, Any]) -> Item:
        """Reads a row.

        A row has one picture, however often its text names one: it goes where it is named first, and other names stay
        text. Options that are nothing but their letters stand in the picture.
        """
        question, answer, options = text_in(row, "question"), text_in(row, "answer"), texts_in(row, "options")
        level = text_in(row, "level")
        if level not in LEVELS:
            raise BrokenRow("unknown_level", f"there is no level '{level}'")
        if options and not (len(answer) == 1 and "A" <= answer <= letter_at(len(options) - 1)):
            raise BrokenRow("gold_no_option", f"the answer {answer[:80]!r} is none of the {len(options)} options")
        shown = "".join(options) != _LETTERS[: len(options)]
        problem = ProblemRow(
            id=text_in(row, "id"),
            question=_with_one_mark(question),
            answer=answer,
            images=(picture_in(row, "decoded_image", "image"),),
            kind="choice" if options else None,
            choices=options if shown else (),
            family=text_in(row, "subject"),
            about={"subject": text_in(row, "subject"), "level": level},
        )
        return Item(row=with_readable_gold(problem), extra={"options": len(options)})

    def ask(self, item: Item) -> str:
        """The question, and its options where they are text."""
        options = f"\n{_without_marks(lettered(item.row.choices))}" if item.row.choices else ""
        rule = "If it is a multiple choice question, only one letter is the answer." if item.extra["options"] else ""
        return f"Please solve the problem step by step. {rule}".strip() + f"\n{item.row.question}{options}"

    def score(self, item: Item, response: str, judge: Judge | None) -> Verdict:
        """Options by letter, text or value; free answers by their type."""
        return judge_answer(item.row, response, judge)

    def parts(self, scored: Scored) -> Parts:
        """Accuracy by level and subject, and of questions with and without options."""
        return accuracy_parts(scored, _labels)


def _labels(item: Item) -> Iterator[str]:
    yield f"level/{item.row.about['level']}"
    yield f"subject/{item.row.about['subject']}"
    yield f"question_type/{'multi_choice' if item.extra['options'] else 'free_form'}"


def _with_one_mark(question: str) -> str:
    first = _PICTURE.search(question)
    if first is None:
        return question
    return question[: first.start()] + IMAGE_MARKER + _without_marks(question[first.end() :])


def _without_marks(text: str) -> str:
    """Text without further places for the picture; ``<image2>`` stays a name."""
    return text.replace(IMAGE_MARKER, "the picture")
