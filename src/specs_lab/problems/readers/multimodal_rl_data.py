"""Multimodal-RL-Data (arXiv 2505.22334): images(list), problem, answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from specs_lab.problems.readers.base import (
    READERS,
    Place,
    pictures_of,
    problem,
    stated,
    text_of,
    without_format_request,
)
from specs_lab.problems.rows import ProblemRow


@READERS.register("multimodal_rl_data")
def read(row: Mapping[str, Any], place: Place) -> ProblemRow:
    """Reads a row; the data name neither ids nor sources."""
    return problem(
        place,
        id=str(place.number),
        question=without_format_request(text_of(row, "problem")),
        answer=stated(text_of(row, "answer")),
        images=pictures_of(row.get("images")),
    )
