"""Figures of a sweep: cold-start curves as in SPECS (arXiv 2510.25801), and RL over its steps.

Written as PNG and SVG; the same data give the same bytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from specs_lab.tracking.drawing import FAINT, draw_runs, label_ends, line_styles, open_figure, save_figure
from specs_lab.tracking.estimates import CURVE
from specs_lab.tracking.frames import select
from specs_lab.tracking.scores import BASE_STAGE, Reading

_REWARDS = {
    "rollout/reward": ("Reward", 1.0, "mean reward"),
    "rollout/format": ("Format", 100.0, "%"),
    "rollout/accuracy": ("Accuracy", 100.0, "%"),
}


def draw_curves(
    table: pd.DataFrame, readings: Mapping[str, Reading], path: Path, *, metric: str = "format"
) -> list[Path]:
    """Draws ID, OOD and the Generalization Factor along the cold start: against steps, and against compute.

    Args:
        table: Estimates, as in :class:`specs_lab.tracking.report.Summary`.
        readings: How each arm's evaluations are read.
        path: Where to, without suffix.
        metric: ``format`` (as in the paper) or ``joint``.

    Returns:
        The files; none if there is no curve.
    """
    plain = select(table, versus="")
    curves = select(plain, at=CURVE)
    arms = list(dict.fromkeys(curves["arm"]))
    if not arms:
        return []
    reading, styles = readings[arms[0]], line_styles(list(readings))
    panels = (
        (f"In distribution ({reading.id})", reading.id, metric),
        (f"Out of distribution ({reading.ood})", reading.ood, metric),
        (f"Generalization Factor (raw, \N{GREEK SMALL LETTER BETA} = {reading.beta:g})", None, f"gf_{metric}_raw"),
    )
    power = 3 * int(np.log10(max(curves["flops"].max(), 1)) // 3)
    along = (("step", 1.0, "cold-start steps"), ("flops", 10.0**-power, f"cold-start compute (10$^{{{power}}}$ FLOPs)"))
    with open_figure(2, 3, 6.6) as (figure, grid):
        for row, (column, scale, label) in zip(grid, along, strict=True):
            for axes, (title, cell, name) in zip(row, panels, strict=True):
                lines = {arm: _curve(curves, readings[arm], arm, cell, name, column, scale) for arm in arms}
                for arm, line in lines.items():
                    style = styles[arm]
                    axes.plot(line["x"], line["value"], marker="o", clip_on=False, **style)
                    axes.fill_between(line["x"], line["low"], line["high"], color=style["color"], alpha=0.14, lw=0)
                base = _base(plain, reading, cell, name)
                if base is not None:
                    axes.axhline(base, color=FAINT, linestyle=(0, (1, 1.6)), linewidth=1.3)
                ends = {
                    arm: (line["value"].tolist()[-1], styles[arm]["color"]) for arm, line in lines.items() if len(line)
                }
                axes.set(ylim=(0, 100), xlim=(0, None), title=title if column == "step" else "", xlabel=label)
                label_ends(axes, ends, base)
            row[0].set_ylabel("format followed (%)" if metric == "format" else "format and answer right (%)")
        dotted = "" if _base(plain, reading, reading.id, metric) is None else " Dotted: the base model."
        figure.supxlabel(f"{_bands(curves)}{dotted}", x=0.01, ha="left", fontsize=8.5, color=FAINT)
        return save_figure(figure, path)


def draw_rl(rows: pd.DataFrame, path: Path, stage: str = "final", *, among: Sequence[str] = ()) -> list[Path]:
    """Draws reward, format and accuracy of the rollouts along RL.

    Args:
        rows: Rows of a sweep, as in :class:`specs_lab.tracking.frames.Sweep`.
        path: Where to, without suffix.
        stage: The RL stage to draw.
        among: All arms of the sweep, so that an arm has the same colour in every figure.

    Returns:
        The files; none if no such stage wrote rows.
    """
    rows = select(rows, stage=stage, metric=list(_REWARDS)).drop_duplicates(["arm", "key", "step", "metric"])
    arms = list(dict.fromkeys(rows["arm"]))
    if not arms:
        return []
    window = max(1, len(set(rows["step"])) // 8)
    styles = line_styles(list(dict.fromkeys([*among, *arms])))
    with open_figure(1, 3, 3.6, share=False) as (figure, grid):
        for axes, (name, (title, scale, unit)) in zip(grid[0], _REWARDS.items(), strict=True):
            ends = {}
            for arm in arms:
                style = styles[arm]
                runs = select(rows, arm=arm, metric=name).pivot(index="step", columns="key", values="value")
                if runs.empty:
                    continue
                ends[arm] = (draw_runs(axes, scale * runs, window, style), style["color"])
            axes.set(title=title, xlabel="RL steps", ylabel=unit, xlim=(0, None))
            axes.set_ylim(0, 100) if unit == "%" else axes.set_ylim(bottom=0)
            label_ends(axes, ends)
        smoothing = f"Running mean over the last {window} steps. " if window > 1 else ""
        figure.supxlabel(f"{smoothing}Bands: range over seeds.", x=0.01, ha="left", fontsize=8.5, color=FAINT)
        return save_figure(figure, path)


def _curve(
    curves: pd.DataFrame, reading: Reading, arm: str, cell: str | None, metric: str, column: str, scale: float
) -> pd.DataFrame:
    """One arm's curve: x, and value, low and high in percent. No ``cell`` stands for the factor of both."""
    cell = f"{reading.id} + {reading.ood}" if cell is None else cell
    mine = select(curves, arm=arm, cell=cell, metric=metric)
    percent = {name: 100 * mine[name] for name in ("value", "low", "high")}
    return pd.DataFrame({"x": scale * mine[column], **percent}).sort_values("x")


def _base(plain: pd.DataFrame, reading: Reading, cell: str | None, metric: str) -> float | None:
    """The base model's value in percent; None unless there is exactly one base model."""
    cell = f"{reading.id} + {reading.ood}" if cell is None else cell
    found = select(plain, stage=BASE_STAGE, cell=cell, metric=metric)["value"].tolist()
    return 100 * found[0] if len(found) == 1 else None


def _bands(curves: pd.DataFrame) -> str:
    seeds, n = (sorted(set(curves[column])) for column in ("seeds", "n"))
    spans = [f"{low}" if low == high else f"{low} to {high}" for low, high in ((s[0], s[-1]) for s in (seeds, n))]
    plural = "" if seeds[-1] == 1 else "s"
    return f"Bands: 95 % intervals over {spans[0]} seed{plural} and {spans[1]} problems a cell."
