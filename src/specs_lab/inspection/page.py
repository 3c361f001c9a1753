"""The page of an overview: Markdown, beside its pictures."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from specs_lab.inspection.overview import Overview

FIGURES, SHEET = "figures.png", "samples.png"


def overview_page(title: str, settings: Mapping[str, Any], found: Overview) -> str:
    """The page as Markdown.

    Args:
        title: What was inspected.
        settings: The source's options.
        found: What it holds.
    """
    return "\n\n".join(_blocks(title, settings, found)) + "\n"


def _blocks(title: str, settings: Mapping[str, Any], found: Overview) -> Iterator[str]:
    yield f"# Problems: {_cell(title)}"
    yield _opening(found)
    yield f"![Sizes, lengths, families and what was left out]({FIGURES})"
    if found.broken:
        yield "## What was left out"
        yield "Rows that cannot be used, by reason, with the first of each."
        rows = [(reason, n, found.examples.get(reason, "")) for reason, n in found.broken.most_common()]
        yield _table(("reason", "rows", "example"), rows)
    yield "## Families"
    families = [(name, found.sides.get(name, ""), n, _share(n, found.kept)) for name, n in found.families.most_common()]
    if found.sides:
        yield "On which side of the shift each lies; one that is on neither is never drawn."
        yield _table(("family", "side", "problems", "share"), families)
    else:
        yield _table(("family", "problems", "share"), [(name, n, share) for name, _, n, share in families])
    yield "## Splits, answers, pictures"
    yield _table(("split", "problems", "share"), [(name, n, _share(n, found.kept)) for name, n in found.splits.items()])
    kinds = [(name, n, _share(n, found.kept)) for name, n in found.kinds.most_common()]
    yield _table(("type of answer", "problems", "share"), kinds)
    pictures = [(str(number), n, _share(n, found.kept)) for number, n in sorted(found.pictures.items())]
    yield _table(("pictures", "problems", "share"), pictures)
    yield "## Sizes and lengths"
    yield f"Pixels of a problem's pictures together, and the length in {found.unit} of {found.drawn:,} prompts."
    sizes = [_summary("pixels", found.pixels), _summary(found.unit, found.lengths)]
    if any(found.of_pictures):
        sizes.append(_summary(f"{found.unit} of pictures", found.of_pictures))
    yield _table(("of a prompt", "least", "median", "95 %", "99 %", "most"), sizes)
    yield "## Samples"
    yield f"![Some problems with their gold answers]({SHEET})"
    yield "## Settings"
    yield _table(("setting", "value"), [(name, str(value)) for name, value in settings.items()])


def _opening(found: Overview) -> str:
    if found.rows is None:
        return f"Problems drawn by programs, without end; what follows is counted on {found.drawn:,} of them."
    left = sum(found.broken.values())
    return f"{found.rows:,} rows were read; {found.kept:,} can be used, {left:,} ({_share(left, found.rows)}) cannot."


def _summary(name: str, values: Sequence[int]) -> tuple[str, ...]:
    import numpy as np

    if not values:
        return (name, *[""] * 5)
    found = np.percentile(values, [0, 50, 95, 99, 100], method="nearest")
    return (name, *(f"{int(value):,}" for value in found))


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %" if whole else ""


def _table(heads: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A table, numbers to the right."""
    made = [[f"{value:,}" if isinstance(value, int) else _cell(str(value)) for value in row] for row in rows]
    right = [all(row[i][:1].isdigit() for row in made) and bool(made) for i in range(len(heads))]
    ruler = ["---:" if i and right[i] else "---" for i in range(len(heads))]
    return "\n".join(f"| {' | '.join(line)} |" for line in (heads, ruler, *made))


def _cell(text: str) -> str:
    """Text as a table's cell or a heading: one line that no mark in it can break."""
    return " ".join(text.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").split())
