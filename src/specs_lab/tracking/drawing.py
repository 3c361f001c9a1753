"""What all figures share: their style, colours, files, and the names of lines at the right edge.

Written as PNG and SVG; the same data give the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from specs_lab.core.plotting import COLOURS, DPI, FAINT, WIDTH_INCHES, own_style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_DASHES = ("-", (0, (5, 1.5)), (0, (1.5, 1.2)))


@contextmanager
def open_figure(
    rows: int, columns: int, height: float, *, share: bool = True, width: float = WIDTH_INCHES
) -> Iterator[tuple[Figure, np.ndarray]]:
    """An empty figure and its axes, in the project's style; the global state of matplotlib is left alone."""
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    with own_style():
        layout = ConstrainedLayoutEngine(w_pad=0.06, h_pad=0.06, wspace=0.03, hspace=0.04)
        figure = Figure(figsize=(width, height), dpi=DPI, layout=layout)
        yield figure, figure.subplots(rows, columns, sharey=share, squeeze=False)


def save_figure(figure: Figure, path: Path) -> list[Path]:
    """Writes a figure to ``path``, given without suffix, as PNG and as SVG; returns the files."""
    files = [path.with_suffix(".png"), path.with_suffix(".svg")]
    figure.draw_without_rendering()  # lays it out, once for both files
    figure.set_layout_engine("none")
    figure.savefig(files[0], dpi=DPI)
    figure.savefig(files[1], metadata={"Date": None})
    return files


def line_styles(arms: Sequence[str]) -> dict[str, dict[str, Any]]:
    """A colour an arm; when colours run out they return dashed."""
    return {
        arm: {"color": COLOURS[i % len(COLOURS)], "linestyle": _DASHES[i // len(COLOURS) % len(_DASHES)]}
        for i, arm in enumerate(arms)
    }


def draw_runs(axes: Axes, runs: pd.DataFrame, window: int, style: Mapping[str, Any]) -> float:
    """Draws the mean of runs, each a running mean over its last steps, in a band of their range.

    Args:
        axes: Where to.
        runs: A row a step, a column a run.
        window: Steps that the running mean is over.
        style: Of the line; its colour is the band's, too.

    Returns:
        The height of the line's last point.
    """
    smooth = runs.sort_index().rolling(window, min_periods=1).mean().dropna(how="all")
    steps, values = smooth.index.to_numpy(), smooth.to_numpy()
    if not len(steps):
        return float("nan")
    mean = np.nanmean(values, axis=1)
    axes.plot(steps, mean, clip_on=False, **style)
    axes.fill_between(
        steps, np.nanmin(values, axis=1), np.nanmax(values, axis=1), color=style["color"], alpha=0.14, lw=0
    )
    return float(mean[-1])


def label_ends(axes: Axes, lines: Mapping[str, tuple[float, str]], base: float | None = None) -> None:
    """Names lines at the right edge, at the height of their last point, moved apart where names would overlap.

    Args:
        axes: Where the lines are drawn; its limits are final.
        lines: (y, colour) of the last point of each line, by name.
        base: Height of the base model's line, if there is one.
    """
    low, high = axes.get_ylim()
    labels = [(y, name, colour) for name, (y, colour) in lines.items() if np.isfinite(y)]
    if base is not None:
        labels.append((base, "base", FAINT))
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
            fontweight="normal" if colour == FAINT else "bold",
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
