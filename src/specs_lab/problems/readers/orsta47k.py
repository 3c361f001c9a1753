"""Orsta-Data-47k (arXiv 2505.18129), in verl's form: data_source, images, prompt, ability, reward_model, extra_info."""

from __future__ import annotations

import json
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
from specs_lab.problems.rows import BrokenRow, ProblemRow

_RULES = ("", "mathverify")
_DETECTION = "detection"


@READERS.register("orsta47k")
def read(row: Mapping[str, Any], place: Place) -> ProblemRow:
    """Reads a row: mathematics by its text, detection of one thing as a box."""
    reward, extra = _mapping(row, "reward_model"), _mapping(row, "extra_info")
    verifier = text_of(reward, "verifier").lower()
    if verifier not in _RULES and _DETECTION not in verifier:
        raise BrokenRow("unsupported_answer", f"its answer is graded by '{verifier}'")
    gold = text_of(reward, "ground_truth") or text_of(reward, "answer")
    detection = _DETECTION in verifier
    return problem(
        place,
        id=f"{text_of(row, 'data_source')}-{text_of(extra, 'id') or place.number}".strip("-"),
        question=without_format_request(_asked(row)),
        answer=_box(gold) if detection else stated(gold),
        images=pictures_of(row.get("images"), needed=detection),
        kind="box" if detection else None,
        family=text_of(row, "data_source") or text_of(row, "ability"),
        about={"ability": text_of(row, "ability")},
    )


def _mapping(row: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = row.get(key)
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise BrokenRow("bad_value", f"its '{key}' has no fields")
    return value


def _asked(row: Mapping[str, Any]) -> str:
    """What the user says; messages of the system ask for a format, which is not the dataset's business here."""
    messages = row.get("prompt")
    if not isinstance(messages, list) or not all(isinstance(one, Mapping) for one in messages):
        raise BrokenRow("no_question", "has no list of messages as 'prompt'")
    said = [text_of(one, "content") for one in messages if one.get("role") in ("user", None)]
    if len(said) > 1:
        raise BrokenRow("several_turns", f"has {len(said)} messages of the user")
    return said[0] if said else ""


def _box(gold: str) -> str:
    """The coordinates of the one box of a gold answer, as text.

    Raises:
        BrokenRow: If there are several, or none.
    """
    gold = stated(gold)
    if not gold:
        raise BrokenRow("no_answer", "has no answer")
    try:
        value = json.loads(gold)
    except ValueError:
        return gold  # the grader reads other ways of writing boxes, and says so if this is none
    boxes = value if isinstance(value, list) and not _is_box(value) else [value]
    if len(boxes) != 1:
        raise BrokenRow("unsupported_answer", f"asks for {len(boxes)} boxes; only one can be graded")
    found = boxes[0]
    if isinstance(found, Mapping):
        found = next((found[key] for key in ("bbox_2d", "bbox", "box") if key in found), None)
    if not _is_box(found):
        raise BrokenRow("unsupported_answer", "its answer is no box")
    return json.dumps(found)


def _is_box(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 4 and all(isinstance(one, int | float) for one in value)
