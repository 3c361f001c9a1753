"""A figure of one estimate against another, an arm a point: what a rank correlation is of."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from textwrap import fill
from typing import Any

from specs_lab.tracking.drawing import line_styles, open_figure
from specs_lab.tracking.findings import Finding

_TITLE_LETTERS = 62


def draw_relation(finding: Finding, path: Path) -> Path:
    """Draws a correlation's arms with their names and 95 % intervals, and says how strong it is.

    Args:
        finding: What a rank correlation found.
        path: The PNG to write.
    """
    points = finding.points
    styles = line_styles([point["arm"] for point in points])
    with open_figure(1, 1, 4.8, width=8.4) as (figure, grid):
        axes = grid[0, 0]
        # Names stand beside the figure, from the highest arm to the lowest: points that lie close would share a place.
        for point in sorted(points, key=lambda point: -point["y_value"]):
            colour = styles[point["arm"]]["color"]
            x, y = point["x_value"], point["y_value"]
            reach = {"xerr": _reach(point, "x"), "yerr": _reach(point, "y")}
            axes.errorbar(x, y, **reach, fmt="o", color=colour, elinewidth=1, label=point["arm"])
        figure.legend(loc="outside right upper", fontsize=9)
        axes.margins(0.08)
        axes.set(
            title=fill(finding.says, _TITLE_LETTERS), xlabel=_axis(finding.test["x"]), ylabel=_axis(finding.test["y"])
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path)
    return path


def _reach(point: Mapping[str, Any], axis: str) -> list[list[float]] | None:
    """How far an interval reaches below and above its value; None if it has no such ends."""
    value, low, high = (point[f"{axis}_{end}"] for end in ("value", "low", "high"))
    return [[max(value - low, 0.0)], [max(high - value, 0.0)]] if math.isfinite(low) and math.isfinite(high) else None


def _axis(place: Mapping[str, Any]) -> str:
    step = "" if place["step"] is None else f" {place['step']:g}"
    return " · ".join(
        part for part in (place["metric"], place["cell"], f"{place['stage']}, {place['at']}{step}") if part
    )
