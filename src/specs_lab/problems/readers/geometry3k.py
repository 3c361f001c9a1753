"""Geometry3K (arXiv 2105.04165) as ``hiyouga/geometry3k`` has it: images(list), problem, answer."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from specs_lab.problems.readers.base import READERS, Place, pictures_of, problem, stated, text_of
from specs_lab.problems.rows import ProblemRow

_FAMILIES = (
    ("area", re.compile(r"\barea|\bperimeter|\bcircumference", re.IGNORECASE)),
    ("angle", re.compile(r"\\angle|\\widehat|\barc\b|m\s*\\overarc|\bangle", re.IGNORECASE)),
    ("ratio", re.compile(r"\\sin|\\cos|\\tan|\b(?:sin|cos|tan|ratio)\b", re.IGNORECASE)),
)


@READERS.register("geometry3k")
def read(row: Mapping[str, Any], place: Place) -> ProblemRow:
    """Reads a row; its family is what is asked for, told by words of the question, as the data name none."""
    question = text_of(row, "problem")
    return problem(
        place,
        id=str(place.number),
        question=question,
        answer=stated(text_of(row, "answer")),
        images=pictures_of(row.get("images")),
        family=next((name for name, pattern in _FAMILIES if pattern.search(question)), "length"),
    )
