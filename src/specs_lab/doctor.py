"""Checks a study before it is run: ``specs-lab doctor [overrides]``, or gold answers in a file: ``--answers FILE``.

All checks are made, whatever the others find, and what they found is shown as one page: room on the disk and in memory,
versions, what names the data, gold answers, whether right answers earn what they must, lengths of prompts, and two
real optimizer steps of each kind of training.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from specs_lab.core.errors import EXIT_USER_ERROR, UserError

if TYPE_CHECKING:
    from specs_lab.preflight.data import Golds
    from specs_lab.preflight.findings import Finding
    from specs_lab.preflight.needs import Prompts
    from specs_lab.preflight.uses import Use
    from specs_lab.problems.tasks import Task
    from specs_lab.rewards.golds import GoldReport
    from specs_lab.rewards.scoring import Asked
    from specs_lab.stages.context import Study

_ORACLE_TASKS = 64
"""Tasks of each use that are answered rightly and wrongly."""


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="specs-lab doctor", description="Checks a study before it is run.")
    parser.add_argument("overrides", nargs="*", help="the study's overrides, as for specs-lab")
    parser.add_argument(
        "--answers",
        type=Path,
        metavar="FILE",
        help="check a .jsonl or .parquet file instead: column answer, and if any id, kind, choices, precision, unit",
    )
    parser.add_argument("--tasks", type=int, help="check so many tasks of each use; by default all, as far as known")
    parser.add_argument("--no-dry-run", action="store_true", help="take no optimizer steps")
    parser.add_argument("--out", type=Path, metavar="DIR", help="write findings.md and findings.json there")
    arguments = parser.parse_intermixed_args(argv)  # flags may stand between overrides
    if arguments.answers and (arguments.overrides or arguments.out or arguments.no_dry_run):
        parser.error("--answers checks a file, and reads no overrides and no other flags")
    if arguments.tasks is not None and arguments.tasks < 1:
        parser.error("--tasks must be at least 1")
    return arguments


def main(argv: Sequence[str] | None = None) -> None:
    """The command line. Exit codes: 0 fine, 2 wrong input or faults found."""
    arguments = _arguments(argv)
    try:
        sound = _check_file(arguments.answers) if arguments.answers else _check_study(arguments)
    except UserError as error:
        print(error, file=sys.stderr)
        sound = False
    sys.exit(0 if sound else EXIT_USER_ERROR)


# --- a study ---


def _check_study(arguments: argparse.Namespace) -> bool:
    from specs_lab.cli.composition import composer, prepare
    from specs_lab.cli.preflight import find_faults
    from specs_lab.cli.values import study_of
    from specs_lab.core.errors import raise_faults
    from specs_lab.preflight.findings import faults, write_page

    prepare()
    with composer() as known:
        raise_faults(find_faults(known, arguments.overrides, sweep=False))
        study = study_of(known.compose(arguments.overrides))
    found = examine(study, arguments.tasks, steps=not arguments.no_dry_run)
    _show_findings(found)
    if arguments.out is not None:
        write_page(arguments.out, found, shlex.join(["specs-lab", "doctor", *arguments.overrides]))
    return not faults(found)


def examine(study: Study, tasks: int | None = None, *, steps: bool = True) -> list[Finding]:
    """All findings of a study.

    Args:
        study: The study.
        tasks: Look at so many tasks of each use; None: all, as far as known.
        steps: Whether to take some optimizer steps.
    """
    from specs_lab.preflight.before import cheap_checks
    from specs_lab.preflight.data import Golds, check_identities, check_rows, check_use
    from specs_lab.preflight.dry_run import dry_run
    from specs_lab.preflight.needs import missing_stages
    from specs_lab.preflight.oracle import check_oracle
    from specs_lab.preflight.uses import uses
    from specs_lab.preflight.versions import check_hardware

    found: list[Finding] = []
    golds, used = Golds(), {use.name: use for use in uses(study, tasks)}
    _add(found, "hardware", lambda: [check_hardware(study)])
    _add(found, "identities", lambda: check_identities(study))
    _add(found, "rows", lambda: check_rows(study))
    for use in used.values():
        _add(found, f"gold answers: {use.name}", lambda use=use: check_use(use, study, golds))
    _add(found, "gold answers", lambda: golds.findings)
    judge = study.judge.make() if hasattr(study.judge, "make") else None
    for name, some in golds.tasks.items():
        picked = some[:_ORACLE_TASKS]
        _add(found, f"oracle: {name}", lambda use=used[name], picked=picked: [check_oracle(use, picked, judge)])
    lengths: dict[str, tuple[Use, Prompts]] = {}
    _add(found, "prompts", lambda: _lengths(study, used, golds, lengths))
    longest = max((prompts for _, prompts in lengths.values()), key=lambda one: one.tokens, default=None)
    _add(found, "room", lambda: cheap_checks(study, missing_stages(study), longest))
    trained = [task for name, some in golds.tasks.items() if used[name].suite is None for task in some]
    if steps and trained:
        _add(found, "dry run", lambda: dry_run(study, _apart(trained)))
    return _once(found)


def _add(found: list[Finding], name: str, check: Callable[[], Iterable[Finding] | None]) -> None:
    """Makes a check; what is wrong with the input is a fault, and the other checks go on."""
    from specs_lab.preflight.findings import Finding

    print(f"checking {name} ...", file=sys.stderr, flush=True)
    try:
        found += check() or ()
    except UserError as error:
        found += [Finding(check=name, level="fault", what=f"{f.where}: {f.what}", fix=f.fix) for f in error.faults]


def _once(found: Sequence[Finding]) -> list[Finding]:
    """The findings without faults that an earlier check found as well, such as data that none could read."""
    first: dict[tuple[str, str, str], Finding] = {}
    for finding in found:
        first.setdefault((finding.level, finding.what, finding.fix), finding)
    return [one for one in found if one.level != "fault" or one is first[one.level, one.what, one.fix]]


def _apart(tasks: Sequence[Task]) -> list[Task]:
    """The tasks without those that come again."""
    return list({task.id: task for task in tasks}.values())


def _lengths(
    study: Study, used: dict[str, Use], golds: Golds, lengths: dict[str, tuple[Use, Prompts]]
) -> Iterator[Finding]:
    """Counts tokens of prompts, for which the model's weights are not needed."""
    from specs_lab.preflight.findings import Finding
    from specs_lab.preflight.lengths import SAMPLE, Encoder, check_lengths
    from specs_lab.preflight.needs import Shapes

    if study.model is None or not any(golds.tasks.values()):
        return
    encoder = Encoder(study.model)
    for name, tasks in golds.tasks.items():
        if not tasks:
            continue
        try:
            lengths[name] = used[name], encoder.longest(tasks[:: max(1, len(tasks) // SAMPLE)])
        except ValueError as error:  # a prompt that does not fit its pictures
            fix = "see the task: its marks for pictures, or its pictures"
            yield Finding(check=f"prompts: {name}", level="fault", what=str(error), fix=fix)
    yield from check_lengths(study, lengths, Shapes().of(study.model))


_STYLES = {"fault": "bold red", "warning": "yellow", "note": "cyan", "ok": "green"}


def _show_findings(found: Sequence[Finding]) -> None:
    from rich.console import Console
    from rich.text import Text

    from specs_lab.preflight.findings import in_order

    console = Console()
    for finding in in_order(found):
        line = Text(f"{finding.level:8}", style=_STYLES[finding.level]).append(f"{finding.check}: ", style="bold")
        console.print(line.append(finding.what, style="not bold default"), soft_wrap=True)
        if finding.fix and finding.level != "ok":
            console.print(Text(f"{'':8}fix: {finding.fix}"), soft_wrap=True)
    bad = sum(finding.level == "fault" for finding in found)
    console.print(f"{bad} faults, {sum(f.level == 'warning' for f in found)} warnings, {len(found)} findings")


# --- a file of answers ---


def _check_file(path: Path) -> bool:
    from specs_lab.data.answers import read_answers
    from specs_lab.rewards.golds import check_golds

    answers: list[Asked] = read_answers(path)
    return _show(path.name, check_golds(answers))


def _show(name: str, report: GoldReport) -> bool:
    """Prints what became of gold answers; returns whether all can be used."""
    from rich.console import Console
    from rich.table import Table

    console = Console()
    table = Table("answers of", "type", "answers", "type inferred", title="gold answers")
    for kind, count in sorted(report.kinds.items()):
        table.add_row(name, kind, str(count), str(report.inferred[kind]))
    if report.faults:
        table.add_row(name, "unusable", str(len(report.faults)), "", style="red")
    console.print(table)
    for fault in report.faults:
        console.print(f"{name}: {fault.id}: {fault.what}", markup=False, highlight=False, soft_wrap=True)
    if not report.faults:
        console.print("Every gold answer can be graded.")
    return not report.faults


if __name__ == "__main__":
    main()
