"""The two pictures of a data card: figures of the whole, and a sheet of examples. Both repeat exactly."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from specs_lab.core.plotting import COLOURS, DPI, FAINT, INK, WIDTH_INCHES, own_style
from specs_lab.data.card_page import yields
from specs_lab.data.records import PairRecord

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SIDES = {"chosen": COLOURS[2], "rejected": COLOURS[1]}
"""Colours of the sides: green and vermilion, which red-green blindness does not confuse."""
_GROUPS = {"by_pollution": "Rejected form", "by_source": "Source", "by_family": "Family", "by_cell": "Cell"}
"""Which groups are drawn: the first two that hold more than one, if there are such."""
_BARS = 10
"""How many bars fit in a panel of half the height."""
_NAME_WIDTH = 26
_YIELD = "Yield"

_EXAMPLES = 10
_MONOSPACE = "DejaVu Sans Mono"
_FONT_POINTS, _CHARACTER_PIXELS, _LINE_INCHES = 9, 9.1, 0.16
_MARGIN, _PICTURE, _GAP, _HEAD = 0.25, 1.15, 0.25, 0.3
_MOST_LINES, _LAST_LINES = 14, 5


def draw_card(facts: Mapping[str, Any], path: Path) -> None:
    """Draws yield, lengths, format and accuracy of the sides, and what the pairs are made of.

    Args:
        facts: As :func:`specs_lab.data.card.card_facts` makes them.
        path: The PNG file.
    """
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    with own_style():
        layout = ConstrainedLayoutEngine(w_pad=0.09, h_pad=0.09, wspace=0.02, hspace=0.03)
        figure = Figure(figsize=(WIDTH_INCHES, 6.4), dpi=DPI, layout=layout)
        told = sorted((key for key in _GROUPS if facts[key]), key=lambda key: len(facts[key]) < 2)[:2]
        grid = figure.add_gridspec(2, 3 if told else 2)
        _bars(figure.add_subplot(grid[:, 0]), _YIELD, yields(facts), most=2 * _BARS)
        _draw_lengths(figure.add_subplot(grid[0, 1]), facts)
        _draw_sides(figure.add_subplot(grid[1, 1]), facts)
        for row, key in enumerate(told):
            place = figure.add_subplot(grid[row, 2] if len(told) > 1 else grid[:, 2])
            _bars(place, _GROUPS[key], list(facts[key].items()), most=_BARS if len(told) > 1 else 2 * _BARS)
        plural = "pairs" if facts["sides"]["rejected"]["count"] else "responses"
        title = _one_line(f"{facts['construction']}: {facts['pairs']:,} {plural}")
        figure.suptitle(title, x=0.012, ha="left", fontsize=13, fontweight="bold", parse_math=False)
        figure.savefig(path, dpi=DPI)


def draw_samples(records: Sequence[PairRecord], path: Path) -> None:
    """Draws a sheet of examples: picture, prompt, chosen side and, if there is one, rejected side.

    Args:
        records: The pairs; which of them are shown depends on nothing else.
        path: The PNG file.
    """
    from matplotlib.figure import Figure

    shown = choose_examples(records, _EXAMPLES)
    columns = ["prompt", "chosen", *(["rejected"] if any(r.rejected is not None for r in shown) else [])]
    indent = _MARGIN + (_PICTURE + _GAP if any(r.images for r in shown) else 0)
    width = (WIDTH_INCHES - indent - _MARGIN + _GAP) / len(columns) - _GAP
    characters = int(width * DPI / _CHARACTER_PIXELS)
    texts = [[_wrap(getattr(record, column) or "", characters) for column in columns] for record in shown]
    heights = [
        _HEAD + _GAP / 2 + max(_PICTURE * bool(r.images), _LINE_INCHES * max(map(len, row)))
        for r, row in zip(shown, texts, strict=True)
    ]
    with own_style():
        figure = Figure(figsize=(WIDTH_INCHES, sum(heights) + _HEAD + _MARGIN), dpi=DPI)
        top = figure.get_figheight() - _MARGIN / 2
        lefts = [indent + i * (width + _GAP) for i in range(len(columns))]
        for left, column in zip(lefts, columns, strict=True):
            _write(figure, left, top, column, color=SIDES.get(column, INK), fontsize=11, fontweight="bold")
        top -= _HEAD
        for record, row, height in zip(shown, texts, heights, strict=True):
            _draw_example(figure, record, row, top, lefts, [SIDES.get(column, INK) for column in columns])
            top -= height
        figure.savefig(path, dpi=DPI)


def choose_examples(records: Sequence[PairRecord], count: int) -> list[PairRecord]:
    """Chooses examples that show as many families, pollutions, cells and sources as possible, early ones first.

    Args:
        records: The pairs.
        count: How many to choose at most.

    Returns:
        The chosen ones, families together, otherwise in their order.
    """
    used: tuple[Counter[str], ...] = (Counter(), Counter(), Counter(), Counter())
    kinds: dict[tuple[str, ...], list[int]] = {}
    for index, record in enumerate(records):
        kinds.setdefault((record.family, record.pollution, record.cell, record.source), []).append(index)
    chosen: list[int] = []
    while kinds and len(chosen) < count:
        kind = min(kinds, key=lambda key: (*(counter[k] for counter, k in zip(used, key, strict=True)), kinds[key][0]))
        chosen.append(kinds[kind].pop(0))
        if not kinds[kind]:
            del kinds[kind]
        for counter, value in zip(used, kind, strict=True):
            counter[value] += 1
    return [records[index] for index in sorted(chosen, key=lambda index: (records[index].family, index))]


def _bars(axes: Axes, title: str, counts: Sequence[tuple[str, int]], most: int) -> None:
    """Horizontal bars, the first on top, each with its number behind it; what does not fit is summed up.

    What came in and what came out of a yield are darker than what happened on the way.
    """
    if len(counts) > most:
        last = [counts[-1]] if title == _YIELD else []
        kept, rest = counts[: most - 1 - len(last)], counts[most - 1 - len(last) : len(counts) - len(last)]
        counts = [*kept, (f"{len(rest)} others", sum(n for _, n in rest)), *last]
    places = np.arange(len(counts))
    values = [n for _, n in counts]
    largest = max(1, *values) if values else 1
    dark = {"prompts", "rows", "pairs"} if title == _YIELD else set()
    colours = [COLOURS[0] if name in dark else COLOURS[5] for name, _ in counts]
    axes.barh(places, values, height=0.62, color=colours)
    for place, value in zip(places, values, strict=True):
        axes.annotate(f"{value:,}", (value, place), xytext=(4, 0), textcoords="offset points", va="center", fontsize=9)
    names = [_short(name) for name, _ in counts]
    axes.set_yticks(places, names, fontsize=9, parse_math=False)
    axes.set(title=title, xlim=(0, 1.24 * largest), ylim=(max(len(counts), most // 2 + 1) - 0.4, -0.6), xticks=[])
    axes.tick_params(axis="y", length=0)
    axes.spines["bottom"].set_visible(False)
    axes.spines["left"].set_bounds(-0.5, len(counts) - 0.5)
    axes.grid(visible=False)


def _short(name: str) -> str:
    """A name as plain words, cut if it is long."""
    words = _one_line(name.replace("_", " ").replace("/", ": "))
    return words if len(words) <= _NAME_WIDTH else words[: _NAME_WIDTH - 1] + "\N{HORIZONTAL ELLIPSIS}"


def _draw_lengths(axes: Axes, facts: Mapping[str, Any]) -> None:
    """How long the sides are, as two histograms of which one is filled and the other a line."""
    from matplotlib.ticker import MaxNLocator

    lengths = facts["lengths"]["characters"]
    for side, colour in SIDES.items():
        if facts["sides"][side]["count"]:
            histogram, filled = lengths[side]["histogram"], side == "chosen"
            axes.stairs(histogram, lengths["edges"], fill=filled, color=colour, alpha=0.55 if filled else 1.0, lw=1.9)
            axes.axvline(lengths[side]["median"], color=colour, linestyle=(0, (4, 2)), linewidth=1.3)
    axes.set(title="Length", xlabel="characters (dashed: median)", ylabel="number", xlim=(0, lengths["edges"][-1]))
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_ylim(bottom=0)
    shown = [side for side in SIDES if facts["sides"][side]["count"]]
    for left, side in zip((0, -60), reversed(shown), strict=False):
        style: dict[str, Any] = {"color": SIDES[side], "fontweight": "bold", "ha": "right", "va": "baseline"}
        axes.annotate(side, (1, 1), (left, 6), xycoords="axes fraction", textcoords="offset points", **style)


def _draw_sides(axes: Axes, facts: Mapping[str, Any]) -> None:
    """Which share of each side follows the format, and which answers rightly."""
    measures = {"format": "format\nfollowed", "correct": "answer\nright"}
    shown = [side for side in SIDES if facts["sides"][side]["count"]]
    height = 0.36
    for offset, side in enumerate(shown):
        for place, measure in enumerate(measures):
            share = facts["sides"][side][measure]
            at = place + (offset - (len(shown) - 1) / 2) * height
            axes.barh(at, 100 * (share or 0), height=0.9 * height, color=SIDES[side])
            text = f"{side}: " + ("not known" if share is None else f"{100 * share:.0f} %")
            inside = share is not None and share > 0.5
            axes.annotate(
                text,
                (100 * (share or 0), at),
                xytext=(-5 if inside else 5, 0),
                textcoords="offset points",
                ha="right" if inside else "left",
                va="center",
                fontsize=9,
                color="white" if inside else SIDES[side],
                fontweight="bold",
            )
    axes.set_yticks(range(len(measures)), list(measures.values()), fontsize=9)
    axes.set(title="The sides" if len(shown) > 1 else "The responses", xlim=(0, 100), ylim=(1.6, -0.6), xlabel="%")
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")


def _draw_example(
    figure: Figure,
    record: PairRecord,
    texts: Sequence[Sequence[str]],
    top: float,
    lefts: Sequence[float],
    colours: Sequence[str],
) -> None:
    """One example, down from ``top`` (inches above the lower edge)."""
    from matplotlib.lines import Line2D

    width, height = figure.get_size_inches()
    edges = [_MARGIN / width, 1 - _MARGIN / width]
    figure.add_artist(Line2D(edges, [top / height] * 2, color="#e0e0e0", linewidth=0.8))
    heading = " \N{MIDDLE DOT} ".join(filter(str.strip, (record.family, record.cell, record.source, record.id)))
    _write(figure, _MARGIN, top - 0.08, _one_line(heading)[:100], color=FAINT, fontsize=8)
    if record.pollution and len(lefts) > 2:
        _write(figure, lefts[-1], top - 0.08, _one_line(record.pollution)[:40], color=SIDES["rejected"], fontsize=8)
    top -= _HEAD
    if record.images:
        place = (_MARGIN / width, (top - _PICTURE) / height, _PICTURE / width, _PICTURE / height)
        axes = figure.add_axes(place, anchor="NW")
        axes.imshow(np.asarray(record.images[0].convert("RGB")))
        axes.set(xticks=[], yticks=[])
        for spine in axes.spines.values():
            spine.set(visible=True, color="#d0d0d0", linewidth=0.8)
    for left, lines, colour in zip(lefts, texts, colours, strict=True):
        for i, line in enumerate(lines):
            at = top - i * _LINE_INCHES
            _write(figure, left, at, line, color=colour, fontsize=_FONT_POINTS, family=_MONOSPACE)


def _write(figure: Figure, left: float, top: float, text: str, **style: Any) -> None:
    """Puts text on a figure; places are in inches from its lower left corner."""
    width, height = figure.get_size_inches()
    figure.text(left / width, top / height, text, **{"va": "top", "parse_math": False, **style})


def _wrap(text: str, width: int) -> list[str]:
    """Lines of at most ``width`` characters; of a long text the beginning and the end, which holds the answer."""
    lines = [
        part
        for line in drawable(text).split("\n")
        for part in textwrap.wrap(line, width, break_on_hyphens=False) or [""]
    ]
    if len(lines) <= _MOST_LINES:
        return lines
    start = _MOST_LINES - _LAST_LINES - 1
    left_out = f"\N{HORIZONTAL ELLIPSIS} {len(lines) - start - _LAST_LINES} lines \N{HORIZONTAL ELLIPSIS}"
    return [*lines[:start], left_out, *lines[-_LAST_LINES:]]


def _one_line(text: str) -> str:
    return " ".join(drawable(text).split())


def drawable(text: str) -> str:
    """The text with what the fonts cannot draw replaced: tabs by spaces, and unknown characters by a box."""
    from matplotlib.font_manager import FontProperties, get_font
    from matplotlib.font_manager import findfont as find_font

    known = get_font(find_font(FontProperties(family=_MONOSPACE))).get_charmap()
    plain = text.replace("\r\n", "\n").expandtabs(4)
    return "".join(c if c == "\n" or (ord(c) in known and c.isprintable()) else "\N{WHITE SQUARE}" for c in plain)
