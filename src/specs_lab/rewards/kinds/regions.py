"""Places in a picture: boxes, compared by how much they overlap, and points."""

from __future__ import annotations

import json
import math
import re
from typing import Any, ClassVar, NamedTuple

from specs_lab.rewards.kinds.base import AnswerKind, Outcome, Terms, kind
from specs_lab.rewards.kinds.writing import plain, visible

DEFAULT_IOU = 0.5
"""Least intersection over union that counts as found."""

_LONGEST = 400
_ROUNDING = 1e-9
_NUMBER = r"-?[0-9]{1,9}(?:\.[0-9]{1,20})?"
_SEPARATOR = r"\s*[,\s]\s*"
_FOUR = re.compile(
    rf"[\[({{]*\s*({_NUMBER}){_SEPARATOR}({_NUMBER})\s*[\])}}]?{_SEPARATOR}[\[({{]?\s*({_NUMBER}){_SEPARATOR}({_NUMBER})\s*[\])}}]*"
)
_TWO = re.compile(rf"[\[({{]*\s*({_NUMBER}){_SEPARATOR}({_NUMBER})\s*[\])}}]*")
_TOKENS = re.compile(r"<\|(?:box|point)_(?:start|end)\|>")
_BOX_KEYS = ("bbox_2d", "bbox", "box")
_POINT_KEYS = ("point_2d", "point")


class Box(NamedTuple):
    """A rectangle: left, top, right, bottom; of positive area."""

    left: float
    top: float
    right: float
    bottom: float


class Point(NamedTuple):
    """A point."""

    x: float
    y: float


def _numbers(text: str, keys: tuple[str, ...], pattern: re.Pattern[str]) -> list[float] | None:
    seen = visible(text)
    if seen is None or len(seen) > _LONGEST:
        return None
    seen = _TOKENS.sub(" ", seen).strip()
    if "{" in seen and '"' in seen:
        seen = _json_value(seen, keys)
    match = pattern.fullmatch(plain(seen)) if seen else None
    return [float(number) for number in match.groups()] if match else None


def _json_value(text: str, keys: tuple[str, ...]) -> str:
    """The coordinates in the JSON that grounding models write; empty if there are none, or several."""
    try:
        data = json.loads(text.strip("`").removeprefix("json"), object_pairs_hook=_once_each)
    except (ValueError, RecursionError):
        return ""
    if isinstance(data, list) and len(data) == 1:
        data = data[0]
    if not isinstance(data, dict):
        return ""
    found = [data[key] for key in keys if key in data]
    return json.dumps(found[0]) if len(found) == 1 else ""


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object; one that names a thing twice says two things about it.

    Raises:
        ValueError: If it does.
    """
    if len({name for name, _ in pairs}) < len(pairs):
        raise ValueError("a name occurs twice")
    return dict(pairs)


def read_box(text: str) -> Box | None:
    """A box of positive area, or None."""
    numbers = _numbers(text, _BOX_KEYS, _FOUR)
    if numbers is None:
        return None
    box = Box(*numbers)
    return box if box.right > box.left and box.bottom > box.top else None


def read_point(text: str) -> Point | None:
    """A point, or None."""
    numbers = _numbers(text, _POINT_KEYS, _TWO)
    return None if numbers is None else Point(*numbers)


def iou(first: Box, second: Box) -> float:
    """Intersection over union of two boxes, in [0, 1]."""
    width = min(first.right, second.right) - max(first.left, second.left)
    height = min(first.bottom, second.bottom) - max(first.top, second.top)
    overlap = max(width, 0.0) * max(height, 0.0)
    areas = sum((box.right - box.left) * (box.bottom - box.top) for box in (first, second))
    return overlap / (areas - overlap)


@kind
class Boxes(AnswerKind[Box]):
    """A box, found if it overlaps the gold box enough; the worth of the answer is the overlap itself."""

    name: ClassVar[str] = "box"

    def read_gold(self, text: str, terms: Terms) -> Box | None:
        """The box."""
        return read_box(text)

    def compare(self, given: Box, gold: Box, terms: Terms) -> Outcome:
        """Equal if the intersection over union reaches the precision."""
        overlap, least = iou(given, gold), DEFAULT_IOU if terms.precision is None else terms.precision
        return Outcome(overlap >= least - _ROUNDING, f"IoU {overlap:.3f}, at least {least:g} is wanted", overlap)


@kind
class Points(AnswerKind[Point | Box]):
    """A point: inside a gold box, or close to a gold point."""

    name: ClassVar[str] = "point"

    def read_gold(self, text: str, terms: Terms) -> Point | Box | None:
        """The point, or the box that it must lie in."""
        return read_point(text) or read_box(text)

    def read(self, text: str, gold: Point | Box, terms: Terms) -> Point | None:
        """The point."""
        return read_point(text)

    def compare(self, given: Point | Box, gold: Point | Box, terms: Terms) -> Outcome:
        """Equal if inside the box, or no further away than the precision."""
        x, y = given[:2]
        if isinstance(gold, Box):
            inside = gold.left <= x <= gold.right and gold.top <= y <= gold.bottom
            return Outcome(inside, "inside the box" if inside else "outside the box")
        distance, most = math.dist((x, y), gold), terms.precision or 0.0
        return Outcome(distance <= most + _ROUNDING, f"{distance:.4g} away, at most {most:g} is allowed")
