r"""ViRL39K (arXiv 2504.08837): question, answer in ``\boxed{}``, image (paths in images.zip), category, source, qid."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from specs_lab.problems.readers.base import READERS, Place, pictures_of, problem, stated, text_of
from specs_lab.problems.rows import ProblemRow

_ABOUT = ("source", "PassRate_32BTrained", "PassRate_7BBase")


@READERS.register("virl39k")
def read(row: Mapping[str, Any], place: Place) -> ProblemRow:
    """Reads a row; some are about no picture."""
    return problem(
        place,
        id=text_of(row, "qid") or str(place.number),
        question=text_of(row, "question"),
        answer=stated(text_of(row, "answer")),
        images=pictures_of(row.get("image"), needed=False),
        family=text_of(row, "category"),
        about={name: text for name in _ABOUT if (text := text_of(row, name))},
    )
