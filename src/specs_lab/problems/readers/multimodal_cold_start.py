"""Multimodal-Cold-Start (arXiv 2505.22334): images(list), problem, and as answer a whole chain of thought."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from specs_lab.problems.readers.base import (
    READERS,
    Place,
    concluded,
    pictures_of,
    problem,
    text_of,
    without_format_request,
)
from specs_lab.problems.rows import ProblemRow

_THOUGHT = re.compile(r"<think>(.*?)</think>", re.DOTALL)


@READERS.register("multimodal_cold_start")
def read(row: Mapping[str, Any], place: Place) -> ProblemRow:
    """Reads a row: the gold answer is what the chain of thought concludes, which itself becomes the reasoning."""
    response = text_of(row, "answer")
    thought = _THOUGHT.search(response)
    return problem(
        place,
        id=str(place.number),
        question=without_format_request(text_of(row, "problem")),
        answer=concluded(response),
        images=pictures_of(row.get("images")),
        reasoning=thought[1].strip() if thought else response,
    )
