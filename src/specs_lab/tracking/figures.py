"""Figures of a sweep: cold-start curves as in SPECS (arXiv 2510.25801), and RL over its steps.

Written as PNG and SVG; the same data give the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from specs_lab.tracking.estimates import CURVE
from specs_lab.tracking.frames import select
from specs_lab.tracking.scores import BASE_STAGE, Reading

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's palette, which people of all kinds of colour vision can tell apart, darkest first.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_DASHES = ("-", (0, (5, 1.5)), (0, (1.5, 1.2)))
_INK, _FAINT = "#333333", "#8a8a8a"
_STYLE = {
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "text.color": _INK,
    "axes.edgecolor": _FAINT,
    "axes.labelcolor": _INK,
    "axes.titlecolor": _INK,
    "axes.titlelocation": "left",
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e6e6e6",
    "grid.linewidth": 0.7,
    "xtick.color": _FAINT,
    "ytick.color": _FAINT,
    "xtick.labelcolor": _INK,
    "ytick.labelcolor": _INK,
    "lines.linewidth": 1.9,
    "lines.markersize": 4,
    "legend.frameon": False,
    "svg.hashsalt": "specs_lab",
    "svg.fonttype": "path",
}
_WIDTH_INCHES = 12.0
_DPI = 120


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
    reading, styles = readings[arms[0]], _styles(list(readings))
    panels = (
        (f"In distribution ({reading.id})", reading.id, metric),
        (f"Out of distribution ({reading.ood})", reading.ood, metric),
        (f"Generalization Factor (raw, \N{GREEK SMALL LETTER BETA} = {reading.beta:g})", None, f"gf_{metric}_raw"),
    )
    power = 3 * int(np.log10(max(curves["flops"].max(), 1)) // 3)
    along = (("step", 1.0, "cold-start steps"), ("flops", 10.0**-power, f"cold-start compute (10$^{{{power}}}$ FLOPs)"))
    with _figure(2, 3, 6.6) as (figure, grid):
        for row, (column, scale, label) in zip(grid, along, strict=True):
            for axes, (title, cell, name) in zip(row, panels, strict=True):
                lines = {arm: _curve(curves, readings[arm], arm, cell, name, column, scale) for arm in arms}
                for arm, line in lines.items():
                    style = styles[arm]
                    axes.plot(line["x"], line["value"], marker="o", clip_on=False, **style)
                    axes.fill_between(line["x"], line["low"], line["high"], color=style["color"], alpha=0.14, lw=0)
                base = _base(plain, reading, cell, name)
                if base is not None:
                    axes.axhline(base, color=_FAINT, linestyle=(0, (1, 1.6)), linewidth=1.3)
                ends = {
                    arm: (line["value"].tolist()[-1], styles[arm]["color"]) for arm, line in lines.items() if len(line)
                }
                axes.set(ylim=(0, 100), xlim=(0, None), title=title if column == "step" else "", xlabel=label)
                _label_ends(axes, ends, base)
            row[0].set_ylabel("format followed (%)" if metric == "format" else "format and answer right (%)")
        dotted = "" if _base(plain, reading, reading.id, metric) is None else " Dotted: the base model."
        figure.supxlabel(f"{_bands(curves)}{dotted}", x=0.01, ha="left", fontsize=8.5, color=_FAINT)
        return _save(figure, path)


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
    styles = _styles(list(dict.fromkeys([*among, *arms])))
    with _figure(1, 3, 3.6, share=False) as (figure, grid):
        for axes, (name, (title, scale, unit)) in zip(grid[0], _REWARDS.items(), strict=True):
            ends = {}
            for arm in arms:
                style = styles[arm]
                runs = select(rows, arm=arm, metric=name).pivot(index="step", columns="key", values="value")
                if runs.empty:
                    continue
                smooth = scale * runs.sort_index().rolling(window, min_periods=1).mean().to_numpy()
                steps, mean = sorted(runs.index), np.nanmean(smooth, axis=1)
                axes.plot(steps, mean, clip_on=False, **style)
                low, high = np.nanmin(smooth, axis=1), np.nanmax(smooth, axis=1)
                axes.fill_between(steps, low, high, color=style["color"], alpha=0.14, lw=0)
                ends[arm] = (float(mean[-1]), style["color"])
            axes.set(title=title, xlabel="RL steps", ylabel=unit, xlim=(0, None))
            axes.set_ylim(0, 100) if unit == "%" else axes.set_ylim(bottom=0)
            _label_ends(axes, ends)
        smoothing = f"Running mean over the last {window} steps. " if window > 1 else ""
        figure.supxlabel(f"{smoothing}Bands: range over seeds.", x=0.01, ha="left", fontsize=8.5, color=_FAINT)
        return _save(figure, path)


@contextmanager
def _figure(rows: int, columns: int, height: float, *, share: bool = True) -> Iterator[tuple[Figure, np.ndarray]]:
    """An empty figure and its axes, in the project's style; the global state of matplotlib is left alone."""
    import matplotlib
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    own: Any = {**matplotlib.rcParamsDefault, **_STYLE, "backend": matplotlib.rcParams["backend"]}
    with matplotlib.rc_context(own):
        layout = ConstrainedLayoutEngine(w_pad=0.06, h_pad=0.06, wspace=0.03, hspace=0.04)
        figure = Figure(figsize=(_WIDTH_INCHES, height), dpi=_DPI, layout=layout)
        yield figure, figure.subplots(rows, columns, sharey=share, squeeze=False)


def _save(figure: Figure, path: Path) -> list[Path]:
    files = [path.with_suffix(".png"), path.with_suffix(".svg")]
    figure.draw_without_rendering()  # lays it out, once for both files
    figure.set_layout_engine("none")
    figure.savefig(files[0], dpi=_DPI)
    figure.savefig(files[1], metadata={"Date": None})
    return files


def _styles(arms: Sequence[str]) -> dict[str, dict[str, Any]]:
    """A colour an arm; when colours run out they return dashed."""
    return {
        arm: {"color": COLOURS[i % len(COLOURS)], "linestyle": _DASHES[i // len(COLOURS) % len(_DASHES)]}
        for i, arm in enumerate(arms)
    }


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


def _label_ends(axes: Axes, lines: Mapping[str, tuple[float, str]], base: float | None = None) -> None:
    """Names lines at the right edge, at the height of their last point, moved apart where names would overlap.

    Args:
        axes: Where the lines are drawn; its limits are final.
        lines: (y, colour) of the last point of each line, by name.
        base: Height of the base model's line, if there is one.
    """
    low, high = axes.get_ylim()
    labels = [(y, name, colour) for name, (y, colour) in lines.items() if np.isfinite(y)]
    if base is not None:
        labels.append((base, "base", _FAINT))
    labels.sort()
    heights = _spread([(y - low) / (high - low) for y, _, _ in labels], gap=0.075)
    for height, (_, name, colour) in zip(heights, labels, strict=True):
        axes.annotate(
            name,
            xy=(1.0, height),
            xycoords="axes fraction",
            xytext=(5, 0),
            textcoords="offset points",
            color=colour,
            fontsize=9,
            fontweight="normal" if colour == _FAINT else "bold",
            va="center",
            annotation_clip=False,
        )


def _spread(heights: Sequence[float], gap: float) -> list[float]:
    """Sorted heights in [0, 1], moved as little as needed to lie at least ``gap`` apart."""
    blocks: list[list[float]] = []
    for height in heights:
        blocks.append([height])
        while len(blocks) > 1 and _centre(blocks[-1], gap) - _centre(blocks[-2], gap) < (
            gap * (len(blocks[-1]) + len(blocks[-2])) / 2
        ):
            blocks[-2:] = [blocks[-2] + blocks[-1]]
    return [_centre(block, gap) + gap * (i - (len(block) - 1) / 2) for block in blocks for i in range(len(block))]


def _centre(block: Sequence[float], gap: float) -> float:
    """Where the middle of a block of labels goes: their mean height, as far as the block fits below 1 and above 0."""
    half = gap * (len(block) - 1) / 2
    return max(half, min(1 - half, sum(block) / len(block)))
