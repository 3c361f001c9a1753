"""The two pictures of an overview: figures of all problems, and a sheet of some."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from specs_lab.core.plotting import COLOURS, DPI, FAINT, INK, WIDTH_INCHES, own_style
from specs_lab.data.card_pictures import drawable
from specs_lab.inspection.overview import Overview, kind_of
from specs_lab.problems.tasks import Task

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_BARS = 12
_NAME_WIDTH = 34
_BINS = 40
_COLUMNS, _TILE_INCHES, _PICTURE_INCHES, _MARGIN = 4, 3.35, 1.75, 0.2
_CHARACTERS, _LINES = 42, 7
_SIDES = {"id": COLOURS[0], "ood": COLOURS[1], "": FAINT}


def draw_figures(title: str, found: Overview, path: Path) -> None:
    """Draws sizes, lengths, families, types of answers and what was left out.

    Args:
        title: What was inspected.
        found: What it holds.
        path: The PNG file.
    """
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    with own_style():
        layout = ConstrainedLayoutEngine(w_pad=0.09, h_pad=0.09, wspace=0.02, hspace=0.03)
        figure = Figure(figsize=(WIDTH_INCHES, 7.2), dpi=DPI, layout=layout)
        grid = figure.add_gridspec(2, 3)
        _histogram(figure.add_subplot(grid[0, 0]), "Pixels of a problem", "pixels", found.pixels, logarithmic=True)
        name = f"Length of {found.drawn:,} prompts"
        place = figure.add_subplot(grid[1, 0])
        _histogram(place, name, found.unit, found.lengths, part=found.of_pictures)
        families = found.families.most_common()
        colours = [_SIDES[found.sides.get(family, "id")] for family, _ in families]
        place = figure.add_subplot(grid[:, 1])
        sides = " (blue: in, orange: out of distribution)" if found.sides else ""
        _bars(place, "Families", families, 2 * _BARS, colours)
        place.set_xlabel(sides.strip())
        _bars(figure.add_subplot(grid[0, 2]), "Types of answers", found.kinds.most_common(), _BARS)
        left = found.broken.most_common() or [("nothing", 0)]
        _bars(figure.add_subplot(grid[1, 2]), "Left out", left, _BARS, [COLOURS[4]] * len(left))
        rows = "" if found.rows is None else f" of {found.rows:,} rows"
        heading = f"{title}: {found.kept:,} problems{rows}"
        figure.suptitle(drawable(heading), x=0.012, ha="left", fontsize=13, fontweight="bold", parse_math=False)
        figure.savefig(path, dpi=DPI)


def _histogram(
    axes: Axes, title: str, label: str, values: Sequence[int], *, logarithmic: bool = False, part: Sequence[int] = ()
) -> None:
    """How many problems have which size; as a line, how large the part that stands for pictures is."""
    from matplotlib.ticker import MaxNLocator

    shown = [value for value in values if value > 0]
    if shown:
        inner = [value for value in part if value > 0]
        least, most = min(shown + inner), max(shown)
        spread = logarithmic and most > 4 * least
        edges = np.geomspace(least, most + 1, _BINS) if spread else np.linspace(*_around(least, most), _BINS + 1)
        counts, _ = np.histogram(shown, edges)
        axes.stairs(counts, edges, fill=True, color=COLOURS[5])
        axes.axvline(float(np.median(shown)), color=COLOURS[0], linestyle=(0, (4, 2)), linewidth=1.3)
        if inner:
            axes.stairs(np.histogram(inner, edges)[0], edges, color=COLOURS[1], linewidth=1.4)
            label = f"{label}, orange: of pictures"
        if spread:
            axes.set_xscale("log")
            axes.xaxis.set_major_formatter(lambda value, _: _compact(value))
            few = most < 100 * least  # hardly two powers of ten to label
            axes.xaxis.set_minor_formatter(lambda value, _: _compact(value) if few and f"{value:e}"[0] in "25" else "")
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_ylim(bottom=0)
    axes.set(title=title, xlabel=f"{label} (dashed: median)", ylabel="problems")


def _compact(value: float) -> str:
    """A number as 300, 20k or 5M."""
    for size, name in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if value >= size:
            return f"{value / size:g}{name}"
    return f"{value:g}"


def _around(least: int, most: int) -> tuple[float, float]:
    """The range, widened where it has fewer numbers than bins."""
    missing = max(0, _BINS - (most - least + 1)) / 2
    return least - 0.5 - int(missing), most + 0.5 + int(missing + 0.5)


def _bars(
    axes: Axes, title: str, counts: Sequence[tuple[str, int]], most: int, colours: Sequence[str] | None = None
) -> None:
    """Horizontal bars, the first on top, each with its number behind it; what does not fit is summed up."""
    colours = list(colours or [COLOURS[5]] * len(counts))
    if len(counts) > most:
        rest = counts[most - 1 :]
        counts = [*counts[: most - 1], (f"{len(rest)} others", sum(n for _, n in rest))]
        colours = [*colours[: most - 1], FAINT]
    places, values = np.arange(len(counts)), [n for _, n in counts]
    axes.barh(places, values, height=0.62, color=colours)
    for place, value in zip(places, values, strict=True):
        axes.annotate(f"{value:,}", (value, place), xytext=(4, 0), textcoords="offset points", va="center", fontsize=9)
    names = [textwrap.shorten(drawable(name.replace("_", " ")), _NAME_WIDTH, placeholder="…") for name, _ in counts]
    axes.set_yticks(places, names, fontsize=9, parse_math=False)
    axes.set(title=title, xlim=(0, 1.3 * max([1, *values])), ylim=(max(len(counts), most // 2) - 0.4, -0.6), xticks=[])
    axes.tick_params(axis="y", length=0)
    axes.spines["bottom"].set_visible(False)
    axes.grid(visible=False)


def draw_sheet(tasks: Sequence[Task], path: Path) -> None:
    """Draws a sheet of problems: pictures, question, gold answer.

    Args:
        tasks: The problems.
        path: The PNG file.
    """
    from matplotlib.figure import Figure

    lines = -(-len(tasks) // _COLUMNS)
    with own_style():
        figure = Figure(figsize=(WIDTH_INCHES, lines * _TILE_INCHES + _MARGIN), dpi=DPI)
        for number, task in enumerate(tasks):
            row, column = divmod(number, _COLUMNS)
            left = _MARGIN + column * (WIDTH_INCHES - _MARGIN) / _COLUMNS
            _draw_tile(figure, task, left, figure.get_figheight() - _MARGIN / 2 - row * _TILE_INCHES)
        figure.savefig(path, dpi=DPI)


def _draw_tile(figure: Figure, task: Task, left: float, top: float) -> None:
    """One problem, right and down from a place in inches."""
    width, height = figure.get_size_inches()
    room = (WIDTH_INCHES - _MARGIN) / _COLUMNS - _MARGIN
    images = task.images
    for number, image in enumerate(images[:4]):
        each = room / min(len(images), 4)
        place = ((left + number * each) / width, (top - _PICTURE_INCHES) / height)
        axes = figure.add_axes((*place, each / width * 0.96, _PICTURE_INCHES / height), anchor="NW")
        small = image.copy()
        small.thumbnail((400, 400))
        axes.imshow(np.asarray(small.convert("RGB")))
        axes.set(xticks=[], yticks=[])
        axes.grid(visible=False)
        for spine in axes.spines.values():
            spine.set(visible=True, color="#d0d0d0", linewidth=0.8)
    problem = task.problem
    wrapped = textwrap.wrap(drawable(" ".join(problem.question.split())), _CHARACTERS)
    wrapped = [*wrapped[: _LINES - 1], "…"] if len(wrapped) > _LINES else wrapped
    below = top - _PICTURE_INCHES - 0.08
    gold = textwrap.shorten(drawable(f"gold: {problem.answer}"), _CHARACTERS, placeholder="…")
    family = textwrap.shorten(drawable(f"{problem.family} ({kind_of(problem)})"), 48, placeholder="…")
    _write(figure, left, below, family, color=FAINT, fontsize=7.5)
    _write(figure, left, below - 0.16, gold, color=COLOURS[2], fontsize=8.5, fontweight="bold")
    for number, line in enumerate(wrapped):
        _write(figure, left, below - 0.34 - 0.145 * number, line, color=INK, fontsize=8)


def _write(figure: Figure, left: float, top: float, text: str, **style: object) -> None:
    width, height = figure.get_size_inches()
    figure.text(left / width, top / height, text, va="top", parse_math=False, **style)  # pyright: ignore[reportArgumentType]
