"""Tables survive the way from the terminal to Markdown."""

from rich.table import Table

from specs_lab.tracking.markdown import table_markdown


def test_table_markdown_keeps_every_cell_and_drops_the_markup():
    table = Table(title="Results", caption="in %\nof all")
    table.add_column("arm")
    table.add_column("ID\nformat")
    table.add_row("sft\n[dim]3 seeds[/]", "[bold]41.7[/]\n[dim]17 to 67[/]")
    table.add_section()
    table.add_row("a|b", "-")
    assert table_markdown(table).splitlines() == [
        "**Results**",
        "",
        "| arm | ID format |",
        "|---|---:|",
        "| sft (3 seeds) | 41.7 (17 to 67) |",
        "| a\\|b | - |",
        "",
        "in % of all",
    ]
