"""VLAA-Thinking (arXiv 2504.11468): JSON with id, image (a path), question, gt (text or number), caption, ds_answer."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

from specs_lab.problems.readers.base import READERS, Place, concluded, pictures_of, problem, stated, text_of
from specs_lab.problems.rows import ProblemRow

_PICTURES = "images"
_THOUGHT = re.compile(r"<think>(.*?)</think>", re.DOTALL)


@READERS.register("vlaa_thinking")
def read(row: Mapping[str, Any], place: Place) -> ProblemRow:
    """Reads a row; its family is the dataset that its picture comes from: the first folder of the path."""
    box = _box(row.get("gt"))
    answer = box or stated(text_of(row, "gt"))
    return problem(
        place,
        id=text_of(row, "id") or str(place.number),
        question=text_of(row, "question"),
        answer=answer,
        images=pictures_of(row.get("image")),
        kind="box" if box else None,
        reasoning=_reasoning(text_of(row, "ds_answer"), answer),
        family=_source(row.get("image")),
        about={name: text for name in ("caption",) if (text := text_of(row, name))},
    )


def _box(gold: Any) -> str:
    """The text of a box, if the gold answer is one; `datasets` makes a list of what is written like one."""
    from specs_lab.rewards.kinds.regions import read_box

    text = json.dumps(gold) if isinstance(gold, list) else str(gold).strip()
    return text if text.startswith("[") and read_box(text) is not None else ""


def _reasoning(response: str, answer: str) -> str:
    """The thought of the distilled response; empty unless it comes to the gold answer, word for word."""
    thought = _THOUGHT.search(response)
    right = " ".join(concluded(response).lower().split()) == " ".join(answer.lower().split())
    return thought[1].strip() if thought and right else ""


def _source(image: Any) -> str:
    if not isinstance(image, str):
        return ""
    folders = [part for part in PurePosixPath(image).parts[:-1] if part != _PICTURES]
    return folders[0] if folders else ""
