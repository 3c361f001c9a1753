"""Checks gold answers before they are trained on: ``specs-lab doctor [overrides]``, or a file of one's own.

An answer that cannot be read as its type would reward nobody, or anybody; this lists every such answer with its id.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from specs_lab.core.errors import EXIT_USER_ERROR, UserError

if TYPE_CHECKING:
    from specs_lab.rewards.scoring import Asked
    from specs_lab.stages.context import Study


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="specs-lab doctor", description="Checks gold answers before training.")
    parser.add_argument("overrides", nargs="*", help="the study's overrides, as for specs-lab; nothing of it is run")
    parser.add_argument(
        "--answers",
        type=Path,
        metavar="FILE",
        help="check a .jsonl or .parquet file instead: column answer, and if any id, kind, choices, precision, unit",
    )
    parser.add_argument("--tasks", type=int, help="check so many tasks of each use; by default all, as far as known")
    arguments = parser.parse_intermixed_args(argv)  # flags may stand between overrides
    if arguments.answers and arguments.overrides:
        parser.error("--answers checks a file and reads no overrides")
    if arguments.tasks is not None and arguments.tasks < 1:
        parser.error("--tasks must be at least 1")
    return arguments


def main(argv: Sequence[str] | None = None) -> None:
    """The command line. Exit codes: 0 fine, 2 wrong input or unusable gold answers."""
    arguments = _arguments(argv)
    try:
        sound = _check_file(arguments.answers) if arguments.answers else _check_study(arguments)
    except UserError as error:
        print(error, file=sys.stderr)
        sound = False
    sys.exit(0 if sound else EXIT_USER_ERROR)


def _check_file(path: Path) -> bool:
    from specs_lab.data.answers import read_answers

    return _show({path.name: read_answers(path)})


def _check_study(arguments: argparse.Namespace) -> bool:
    from specs_lab.cli.composition import composer, prepare
    from specs_lab.cli.preflight import find_faults
    from specs_lab.cli.values import study_of
    from specs_lab.core.errors import raise_faults

    prepare()
    with composer() as known:
        raise_faults(find_faults(known, arguments.overrides, sweep=False))
        study = study_of(known.compose(arguments.overrides))
    return _show({name: list(drawn) for name, drawn in _uses(study, arguments.tasks)}, study.judge)


def _uses(study: Study, most: int | None) -> Iterator[tuple[str, Iterator[Asked]]]:
    """What a study trains on and is measured by: (name, the tasks of this use).

    Drawn from the cells that the options name, as stages draw them that are given no list of tasks; every stage checks
    the answers that it really uses before it begins.
    """
    from specs_lab.data.constructions.base import FromTasks
    from specs_lab.rewards.tasks import asked
    from specs_lab.stages.scoring import rl_stream

    def drawn(mixture: Sequence[str], stream: str, count: int) -> Iterator[Asked]:
        indices = range(min(count, most or count))
        return (asked(study.problems.draw_mixed(mixture, stream, index)) for index in indices)

    for role in ("rl", "zero"):
        if (rl := getattr(study, role)) is not None:
            count = rl.steps * rl.prompts_per_step
            yield f"{role} ({', '.join(rl.mixture)})", drawn(rl.mixture, rl_stream(study.seed, rl.mixture), count)
    data = study.data
    if isinstance(data, FromTasks):  # a pair needs at least one prompt; how many more is not known beforehand
        yield f"data ({', '.join(data.mixture)})", drawn(data.mixture, f"pairs/{study.seed}", data.pairs)
    if study.suite is not None:
        yield "suite", map(asked, study.suite.tasks(study.problems))


def _show(uses: dict[str, list[Asked]], judge: object = None) -> bool:
    """Checks and prints; returns whether all is well. Open answers need a judge, where it is known who judges."""
    from rich.console import Console
    from rich.progress import track
    from rich.table import Table

    from specs_lab.rewards.golds import GoldReport, check_golds
    from specs_lab.stages.scoring import open_without_judge

    console, reports = Console(), dict[str, GoldReport]()
    for name, answers in uses.items():
        steps = track(answers, description=name, console=Console(stderr=True), transient=True)
        reports[name] = check_golds(steps)
    table = Table("answers of", "type", "answers", "type inferred", title="gold answers")
    for name, report in reports.items():
        for kind, count in sorted(report.kinds.items()):
            table.add_row(name, kind, str(count), str(report.inferred[kind]))
        if report.faults:
            table.add_row(name, "unusable", str(len(report.faults)), "", style="red")
    console.print(table)
    faults = [(name, fault) for name, report in reports.items() for fault in report.faults]
    for name, fault in faults:
        console.print(f"{name}: {fault.id}: {fault.what}", markup=False, highlight=False, soft_wrap=True)
    unjudged = [fault for name, report in reports.items() for fault in open_without_judge(report, judge, name)]
    for fault in unjudged:
        console.print(str(fault), markup=False, highlight=False, soft_wrap=True)
    if not faults and not unjudged:
        console.print("Every gold answer can be graded.")
    return not faults and not unjudged


if __name__ == "__main__":
    main()
