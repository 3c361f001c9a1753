"""pass@k against k, as in arXiv 2504.13837: whether RL finds new answers, or only finds known ones sooner."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from specs_lab.metrics.exploration import JOINT_PASS, PASS
from specs_lab.tracking.drawing import FAINT, label_ends, line_styles, open_figure, save_figure
from specs_lab.tracking.estimates import EVALUATION
from specs_lab.tracking.exploration import EXPLORE_BASE, Crossing
from specs_lab.tracking.frames import select
from specs_lab.tracking.scores import ALL_ARMS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_FAMILIES = {PASS: "answer right in one of k (%)", JOINT_PASS: "format and answer right in one of k (%)"}
_FEW = 4
"""So many bands on top of each other can be told apart."""
_CAPTION_WIDTH = 170
"""Characters in a line."""
_DASHES = ("-", (0, (5, 1.5)), (0, (1.5, 1.2)), (0, (5, 1.5, 1.2, 1.5)))
_Line = tuple[str, str]
"""Arm and stage."""


def draw_passk(
    table: pd.DataFrame, crossings: Sequence[Crossing], path: Path, *, among: Sequence[str] = ()
) -> list[Path]:
    """Draws pass@k and joint pass@k against k: a column of panels a cell, a line an arm and stage.

    An arm has one colour, and its last stage a solid line; of one arm alone every stage has a colour. A ring marks from
    which k on a line is on the other side of the base model's.

    Args:
        table: Estimates, as in :class:`specs_lab.tracking.report.Summary`.
        crossings: Where lines cross.
        path: Where to, without suffix.
        among: All arms of the sweep, so that an arm has the same colour in every figure.

    Returns:
        The files; none if nothing was explored.
    """
    points = _points(table)
    cells = list(dict.fromkeys(points["cell"]))
    if not cells:
        return []
    names = _names(points)
    styles = _styles(names, among)
    with open_figure(len(_FAMILIES), len(cells), 3.4 * len(_FAMILIES)) as (figure, grid):
        for row, (family, label) in zip(grid, _FAMILIES.items(), strict=True):
            for axes, cell in zip(row, cells, strict=True):
                _draw(axes, select(points, family=family, cell=cell), names, styles, crossings)
                axes.set(xlabel="k responses", title=cell if family == PASS else "")
            row[0].set_ylabel(label)
        figure.supxlabel(_caption(points, crossings, names), x=0.01, ha="left", fontsize=8.5, color=FAINT)
        return save_figure(figure, path)


def _points(table: pd.DataFrame) -> pd.DataFrame:
    """The estimates of pass@k and joint pass@k, with their ``family`` and ``k``."""
    plain = select(table, versus="", at=EVALUATION)
    parts = plain["metric"].str.extract(r"^((?:joint )?pass@)(\d+)$")
    kept = parts[0].notna()
    return plain.loc[kept].assign(family=parts.loc[kept, 0], k=parts.loc[kept, 1].astype(int))


def _names(points: pd.DataFrame) -> dict[_Line, str]:
    """What each line is called: as briefly as tells them apart."""
    lines = list(dict.fromkeys(zip(points["arm"], points["stage"], strict=True)))
    arms = {arm for arm, _ in lines if arm != ALL_ARMS}
    stages = {stage for arm, stage in lines if arm != ALL_ARMS}
    names = {}
    for arm, stage in lines:
        short = stage.removeprefix("explore_")
        if arm == ALL_ARMS or len(arms) == 1:
            names[arm, stage] = short
        else:
            names[arm, stage] = arm if len(stages) == 1 else f"{arm} {short}"
    return names


def _styles(names: Mapping[_Line, str], among: Sequence[str]) -> dict[_Line, dict[str, Any]]:
    """How each line is drawn; the base model that all share is faint and dotted, as in the other figures."""
    own = [line for line in names if line != (ALL_ARMS, EXPLORE_BASE)]
    arms = list(dict.fromkeys(arm for arm, _ in own))
    found: dict[_Line, dict[str, Any]] = {(ALL_ARMS, EXPLORE_BASE): {"color": FAINT, "linestyle": (0, (1, 1.6))}}
    if len(arms) == 1:
        styles = line_styles([stage for _, stage in own])
        return found | {line: styles[line[1]] for line in own}
    styles = line_styles(list(dict.fromkeys([*among, *arms])))
    stages = list(dict.fromkeys(stage for _, stage in own))[::-1]
    dashes = {stage: _DASHES[i % len(_DASHES)] for i, stage in enumerate(stages)}
    return found | {(arm, stage): {**styles[arm], "linestyle": dashes[stage]} for arm, stage in own}


def _draw(
    axes: Axes,
    points: pd.DataFrame,
    names: Mapping[_Line, str],
    styles: Mapping[_Line, Mapping[str, Any]],
    crossings: Sequence[Crossing],
) -> None:
    """Draws one panel."""
    ends = {}
    alpha = 0.14 if len(names) <= _FEW else 0.06
    for (arm, stage), name in names.items():
        mine = select(points, arm=arm, stage=stage).sort_values("k")
        if mine.empty:
            continue
        style = styles[arm, stage]
        ks, value = mine["k"].to_numpy(), 100 * mine["value"].to_numpy()
        axes.plot(ks, value, marker="o", clip_on=False, **style)
        axes.fill_between(ks, 100 * mine["low"], 100 * mine["high"], color=style["color"], alpha=alpha, lw=0)
        ends[name] = float(value[-1]), style["color"]
        cell, family = mine["cell"].iloc[0], mine["family"].iloc[0]
        for at in _crossings_with_base(crossings, arm, stage, cell, family):
            ring = {"markersize": 11, "markerfacecolor": "none", "clip_on": False}
            axes.plot([at], value[ks == at], "o", color=style["color"], **ring)
    ks = sorted(set(points["k"]))
    axes.set_xscale("log", base=2)
    axes.set_xticks(ks, [str(k) for k in ks])
    axes.minorticks_off()
    axes.set(ylim=(0, 100), xlim=(min(ks), max(ks)) if len(ks) > 1 else (ks[0] / 2, 2 * ks[0]))
    label_ends(axes, ends)


def _crossings_with_base(crossings: Sequence[Crossing], arm: str, stage: str, cell: str, family: str) -> list[int]:
    place = arm, stage, EXPLORE_BASE, cell, family
    return [
        one.k
        for one in crossings
        if one.k is not None and (one.arm, one.stage, one.versus_stage, one.cell, one.metric) == place
    ]


def _caption(points: pd.DataFrame, crossings: Sequence[Crossing], names: Mapping[_Line, str]) -> str:
    seeds, n = (sorted(set(points[column])) for column in ("seeds", "n"))
    spans = [f"{one[0]}" if len(one) == 1 else f"{one[0]} to {one[-1]}" for one in (seeds, n)]
    plural = "" if seeds[-1] == 1 else "s"
    bands = f"Bands: 95 % intervals over {spans[0]} seed{plural} and {spans[1]} problems a cell."
    with_base = [one for one in crossings if one.k is not None and one.versus_stage == EXPLORE_BASE]
    crossed = [
        f"{names[one.arm, one.stage]} ({one.cell}, {'answer' if one.metric == PASS else 'format and answer'}) "
        f"from k = {one.k}"
        for one in with_base
        if (one.arm, one.stage) in names and one.stage != EXPLORE_BASE
    ]
    if not any(stage == EXPLORE_BASE for _, stage in names):
        return bands
    if not crossed:
        return f"{bands} No line crosses the base model's."
    rings = (
        "Rings: from there on a line is on the other side of the base model's, as estimated (intervals of the "
        f"differences: summary.json): {'; '.join(crossed)}."
    )
    return "\n".join([bands, *textwrap.wrap(rings, _CAPTION_WIDTH)])
