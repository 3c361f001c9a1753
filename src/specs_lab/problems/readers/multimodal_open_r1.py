"""multimodal-open-r1-8k-verified: image, problem, solution in tags, original_question, original_answer."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from specs_lab.problems.readers.base import (
    LONGEST_ANSWER_WORDS,
    READERS,
    Place,
    concluded,
    pictures_of,
    problem,
    text_of,
    without_format_request,
)
from specs_lab.problems.rows import ProblemRow

_SECTION = re.compile(r"<(think|answer)>(.*?)</\1>", re.DOTALL)


@READERS.register("multimodal_open_r1")
def read(row: Mapping[str, Any], place: Place) -> ProblemRow:
    """Reads a row: the gold answer is the original one, or where that explains itself at length the solution's."""
    sections = {match[1]: match[2].strip() for match in _SECTION.finditer(text_of(row, "solution"))}
    original = text_of(row, "original_answer")
    short = concluded(original) or original
    if not short or len(short.split()) > LONGEST_ANSWER_WORDS:
        short = concluded(sections.get("answer", "")) or sections.get("answer", "")
    return problem(
        place,
        id=str(place.number),
        question=without_format_request(text_of(row, "problem") or text_of(row, "original_question")),
        answer=short.strip().rstrip("."),
        images=pictures_of(row.get("image")),
        reasoning=sections.get("think", ""),
    )
