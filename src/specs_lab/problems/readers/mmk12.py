"""MMK12 (arXiv 2503.07365): id, question, answer, image, subject; the test split is multiple choice."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from specs_lab.problems.readers.base import READERS, Place, pictures_of, problem, stated, text_of
from specs_lab.problems.rows import ProblemRow


@READERS.register("mmk12")
def read(row: Mapping[str, Any], place: Place) -> ProblemRow:
    """Reads a row; its family is the school subject."""
    return problem(
        place,
        id=text_of(row, "id") or str(place.number),
        question=text_of(row, "question"),
        answer=stated(text_of(row, "answer")),
        images=pictures_of(row.get("image")),
        family=text_of(row, "subject"),
    )
