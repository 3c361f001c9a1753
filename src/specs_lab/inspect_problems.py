"""Shows what problems are made of: ``specs-lab inspect problems=<choice> [overrides] [--out FOLDER] [--rows N]``.

Writes a page (README.md) with pictures: what was left out and why, families, splits, answers, sizes, lengths, samples.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from specs_lab.core.errors import EXIT_USER_ERROR, Fault, UserError

if TYPE_CHECKING:
    from specs_lab.inspection.overview import Overview
    from specs_lab.stages.context import Study

_PAGE = "README.md"


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="specs-lab inspect", description="Shows what problems are made of.")
    parser.add_argument("overrides", nargs="*", help="as for specs-lab, e.g. problems=virl39k; nothing is trained")
    parser.add_argument("--out", type=Path, help="folder of the page; by default outputs/inspect/<choice of problems>")
    parser.add_argument(
        "--rows",
        type=int,
        default=200,
        metavar="N",
        help="draw so many prompts for lengths and samples (200); how many rows are read says problems.limit",
    )
    arguments = parser.parse_intermixed_args(argv)  # flags may stand between overrides
    if arguments.rows < 1:
        parser.error("--rows must be at least 1")
    return arguments


def main(argv: Sequence[str] | None = None) -> None:
    """The command line. Exit codes: 0 fine, 2 wrong input."""
    arguments = _arguments(argv)
    for library in ("HF_HUB", "HF_DATASETS"):  # the terminal belongs to the progress view
        os.environ.setdefault(f"{library}_DISABLE_PROGRESS_BARS", "1")
    try:
        _inspect(arguments)
    except UserError as error:
        print(error, file=sys.stderr)
        sys.exit(EXIT_USER_ERROR)


def _inspect(arguments: argparse.Namespace) -> None:
    from rich.console import Console

    from specs_lab.cli.progress_view import progress_view, sink_of
    from specs_lab.core.progress import Progress
    from specs_lab.inspection.overview import measure_of, overview
    from specs_lab.inspection.page import FIGURES, SHEET, overview_page
    from specs_lab.inspection.pictures import draw_figures, draw_sheet
    from specs_lab.stages.describing import describe

    name, study = _study(arguments.overrides)
    measure, unit = measure_of(study.model)
    with progress_view(Console(stderr=True), n_jobs=1) as view:
        view.job_started(name)
        found = overview(study.problems, arguments.rows, measure, unit, Progress(sink_of(view, name)))
    folder = arguments.out or Path("outputs") / "inspect" / name
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError([Fault("--out", f"'{folder}' cannot be made ({error.strerror})", "name another")]) from error
    draw_figures(name, found, folder / FIGURES)
    draw_sheet(found.samples, folder / SHEET)
    (folder / _PAGE).write_text(overview_page(name, describe(study.problems), found), encoding="utf-8")
    _show(found, folder / _PAGE)


def _study(overrides: Sequence[str]) -> tuple[str, Study]:
    """The choice of problems, and the study that it is in."""
    from specs_lab.cli.composition import composer
    from specs_lab.cli.preflight import find_faults
    from specs_lab.cli.values import study_of
    from specs_lab.core.errors import raise_faults

    with composer() as known:
        raise_faults(find_faults(known, list(overrides), sweep=False))
        cfg = known.compose(list(overrides))
        return str(cfg.hydra.runtime.choices.get("problems")), study_of(cfg)


def _show(found: Overview, page: Path) -> None:
    from rich.console import Console

    console = Console()
    if found.rows is not None:
        console.print(f"{found.rows:,} rows read, {found.kept:,} can be used", highlight=False)
        for reason, count in found.broken.most_common():
            line = f"  {count:,} {reason}: {found.examples.get(reason, '')}"
            console.print(line, markup=False, highlight=False, soft_wrap=True)
    console.print(f"written: {page}", markup=False, highlight=False, soft_wrap=True)


if __name__ == "__main__":
    main()
