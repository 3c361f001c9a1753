"""Metrics of places in a picture: boxes ``(x1, y1, x2, y2)`` and points, in shares of width and height."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from specs_lab.evaluation.benchmarks.mega_bench.registry import BadGold, metric
from specs_lab.evaluation.benchmarks.mega_bench.values import Numbers, mean, tagged_boxes, tagged_point, tuples_in

_BOX = 4


def overlap(one: Numbers, other: Numbers) -> float:
    """Intersection over union of two boxes."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    shared = max(0.0, width) * max(0.0, height)
    whole = _area(one) + _area(other) - shared
    return shared / whole if whole > 0 else 0.0


def _area(box: Numbers) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])


def _best(named: Sequence[Numbers], wanted: Sequence[Numbers]) -> float:
    return mean(max((overlap(one, other) for other in wanted), default=0.0) for one in named)


def _gold_boxes(gold: Any, *, tagged: bool = False) -> list[Numbers]:
    wanted = tagged_boxes(gold) if tagged else tuples_in(gold, _BOX)
    if not wanted:
        raise BadGold("holds no box")
    return wanted


def best_overlaps(given: Any, gold: Any) -> float:
    """Mean over the response's boxes of the overlap with the best fitting right one; 0 without any."""
    return _best(tuples_in(given, _BOX), tuples_in(gold, _BOX))


@metric("nbbox_iou_tuple")
def several(given: Any, gold: Any) -> float:
    """Mean over the response's boxes of the overlap with the best fitting right one."""
    return _best(tuples_in(given, _BOX), _gold_boxes(gold))


@metric("nbbox_iou_single")
def single(given: Any, gold: Any) -> float:
    """Overlap of the only box with the right one."""
    wanted, named = _gold_boxes(gold), tuples_in(given, _BOX)
    return overlap(named[0], wanted[0]) if len(named) == 1 else 0.0


@metric("nbbox_iou_sequence")
def sequence(given: Any, gold: Any) -> float:
    """Mean overlap of boxes with those in the same place; 0 if there are more or fewer."""
    wanted, named = _gold_boxes(gold), tuples_in(given, _BOX)
    if len(named) != len(wanted):
        return 0.0
    return mean(overlap(one, other) for one, other in zip(named, wanted, strict=True))


@metric("xml_nbbox_iou_single")
def tagged(given: Any, gold: Any) -> float:
    """As ``nbbox_iou_tuple``, of ``<box>x1, y1, x2, y2</box>``."""
    return _best(tagged_boxes(given), _gold_boxes(gold, tagged=True))


@metric("xml_norm_point_distance")
def nearness(given: Any, gold: Any) -> float:
    """1 less the distance of ``<point>x, y</point>`` from the right one, 0 at least; both within the picture."""
    wanted, named = tagged_point(gold), tagged_point(given)
    if not _inside(wanted):
        raise BadGold("is no point of the picture")
    return max(0.0, 1 - math.dist(named, wanted)) if _inside(named) and named and wanted else 0.0


def _inside(point: Numbers | None) -> bool:
    return point is not None and all(0 <= one <= 1 for one in point)


@metric("xml_norm_point_in_bbox")
def hit(given: Any, gold: Any) -> float:
    """1 if ``<point>x, y</point>`` lies in one of the context's ``bounding_boxes``, its edge included."""
    listed = gold.get("bounding_boxes") if isinstance(gold, Mapping) else None
    wanted = [box for one in listed or () for box in tuples_in(one, _BOX)[:1]]
    if not wanted:
        raise BadGold("the context holds no box")
    point = tagged_point(given)
    if point is None:
        return 0.0
    return float(any(box[0] <= point[0] <= box[2] and box[1] <= point[1] <= box[3] for box in wanted))
