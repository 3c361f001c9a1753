"""A sweep's summary as Markdown: the terminal's tables, for READMEs, so that no figure there is typed by hand."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from specs_lab.tracking.report import Summary
from specs_lab.tracking.tables import all_tables


def summary_markdown(summary: Summary, command: str = "") -> str:
    """All tables of a summary, with their captions and notes.

    Args:
        summary: The summary.
        command: What made the sweep, quoted on top.
    """
    blocks = [f"Made by `{command}`."] if command else []
    blocks += [table_markdown(table) for table in all_tables(summary)]
    if summary.notes:
        blocks.append("\n".join(f"- {note}" for note in summary.notes))
    return "\n\n".join(blocks) + "\n"


def table_markdown(table: Table) -> str:
    """One table with its title above and its caption below."""
    console = Console(width=1000)

    def plain(cell: object) -> str:
        text = console.render_str(cell).plain if isinstance(cell, str) else str(cell)
        return text.replace("|", "\\|")

    def two_lines(cell: object) -> str:  # a value over its interval
        first, *rest = plain(cell).split("\n")
        return f"{first} ({' '.join(rest)})" if rest else first

    heads = [" ".join(plain(column.header).split()) for column in table.columns]
    columns = [[two_lines(cell) for cell in column.cells] for column in table.columns]
    rows = ["| " + " | ".join(cells) + " |" for cells in (heads, *zip(*columns, strict=True))]
    ruler = "|" + "|".join(["---", *["---:"] * (len(heads) - 1)]) + "|"
    caption = " ".join(plain(table.caption).split()) if table.caption else ""
    return "\n".join([f"**{table.title}**", "", rows[0], ruler, *rows[1:], "", caption]).rstrip()
