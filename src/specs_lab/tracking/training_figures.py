"""Figures of training: what RL did step by step, and how cold starts pull the two sides of pairs apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from specs_lab.tracking.drawing import FAINT, draw_runs, line_styles, open_figure, save_figure
from specs_lab.tracking.frames import select
from specs_lab.tracking.scores import ALL_ARMS
from specs_lab.tracking.training_metrics import training_rows

# By metric: title, factor, unit.
_Panels = Mapping[str, tuple[str, float, str]]
_RL: _Panels = {
    "rollout/reward": ("Reward", 1.0, "mean reward"),
    "rollout/format": ("Format", 100.0, "%"),
    "rollout/length": ("Length", 1.0, "tokens"),
    "train/entropy": ("Entropy", 1.0, "nats a token"),
    "rollout/zero_variance": ("Zero variance", 100.0, "% of groups"),
}
_MARGINS: _Panels = {
    "train/reward_chosen": ("Chosen", 1.0, "implicit reward"),
    "train/reward_rejected": ("Rejected", 1.0, "implicit reward"),
    "train/reward_margin": ("Margin", 1.0, "chosen minus rejected"),
}
_PANEL_INCHES, _LETTER_INCHES = 2.6, 0.09


def draw_training(rows: pd.DataFrame, path: Path, *, among: Sequence[str] = ()) -> list[Path]:
    """Draws reward, format, length, entropy and zero-variance share along each RL stage, as far as they were recorded.

    Args:
        rows: Rows of a sweep, as in :class:`specs_lab.tracking.frames.Sweep`.
        path: Where to, without suffix.
        among: All arms of the sweep, so that an arm has the same colour in every figure.

    Returns:
        The files; none if no RL stage wrote rows.
    """
    return _draw(select(training_rows(rows), kind="rl"), _RL, path, among, "RL steps")


def draw_margins(rows: pd.DataFrame, path: Path, *, among: Sequence[str] = ()) -> list[Path]:
    """Draws the implicit rewards of chosen and rejected sides, and their margin, along cold starts with preferences.

    Args:
        rows: Rows of a sweep, as in :class:`specs_lab.tracking.frames.Sweep`.
        path: Where to, without suffix.
        among: All arms of the sweep, so that an arm has the same colour in every figure.

    Returns:
        The files; none if no cold start compares pairs.
    """
    return _draw(select(training_rows(rows), kind="coldstart"), _MARGINS, path, among, "cold-start steps")


def _draw(rows: pd.DataFrame, panels: _Panels, path: Path, among: Sequence[str], along: str) -> list[Path]:
    """One line of panels a stage, one panel a metric; names are above, where long ones take no room from panels."""
    from matplotlib.lines import Line2D

    rows = select(rows, metric=list(panels)).dropna(subset="value")
    if rows.empty:
        return []
    rows = rows.drop_duplicates(["arm", "stage", "key", "step", "metric"])
    stages = list(dict.fromkeys(rows["stage"]))
    shown = {metric: panel for metric, panel in panels.items() if (rows["metric"] == metric).any()}
    arms = [arm for arm in dict.fromkeys([*among, *rows["arm"]]) if arm != ALL_ARMS]
    styles = {**line_styles(arms), ALL_ARMS: {"color": FAINT, "linestyle": "-"}}
    window = max(1, int(rows.groupby("stage")["step"].nunique().max()) // 8)
    height, width = 0.6 + 3.0 * len(stages), max(12.0, _PANEL_INCHES * len(shown))
    with open_figure(len(stages), len(shown), height, share=False, width=width) as (figure, grid):
        for line, stage in zip(grid, stages, strict=True):
            for axes, (metric, (title, scale, unit)) in zip(line, shown.items(), strict=True):
                part = select(rows, stage=stage, metric=metric)
                if part.empty:
                    axes.set_axis_off()
                    continue
                for arm, own in part.groupby("arm", sort=False):
                    runs = own.pivot(index="step", columns="key", values="value")
                    draw_runs(axes, scale * runs, window, styles[str(arm)])
                axes.set(title=f"{title}: {stage}" if len(stages) > 1 else title, xlabel=along, ylabel=unit)
                axes.set_xlim(0, None)
                if unit.startswith("%"):
                    axes.set_ylim(0, 100)
        drawn = [arm for arm in styles if (rows["arm"] == arm).any()]
        figure.legend(
            handles=[Line2D([], [], label=arm, **styles[arm]) for arm in drawn],
            loc="outside upper left",
            ncols=max(1, int(width // (0.6 + _LETTER_INCHES * max(map(len, drawn))))),
        )
        smoothing = f"Running mean over {window} steps. " if window > 1 else ""
        figure.supxlabel(f"{smoothing}Bands: range over seeds.", x=0.01, ha="left", fontsize=8.5, color=FAINT)
        return save_figure(figure, path)
