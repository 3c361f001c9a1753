"""Summarises a finished sweep again: ``python -m specs_lab.report multirun/<date>/<time>``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from rich.console import Console

from specs_lab.core.errors import EXIT_USER_ERROR, Fault, UserError, raise_faults


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="specs_lab.report", description="Summarises a finished sweep again.")
    parser.add_argument("sweep", type=Path, help="folder of a sweep or of a single run")
    parser.add_argument("--out", type=Path, help="where the summary goes; by default the sweep's folder")
    parser.add_argument(
        "--arms",
        action="append",
        metavar="PATTERN",
        help="only arms called so, e.g. '*lr=0.001'; may be given several times, and needs --out",
    )
    parser.add_argument("--steps", type=int, nargs="+", default=[], help="cold-start steps to compare arms at")
    parser.add_argument("--markdown", type=Path, help="also write the tables as Markdown to this file")
    parser.add_argument("--command", default="", help="the command that made the sweep, quoted in the Markdown")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """The command line. Exit codes: 0 fine, 2 wrong input."""
    arguments = _arguments(argv)
    try:
        _report(arguments)
    except UserError as error:
        print(error, file=sys.stderr)
        sys.exit(EXIT_USER_ERROR)


def _report(arguments: argparse.Namespace) -> None:
    from specs_lab.tracking.frames import find_jobs  # imports pandas
    from specs_lab.tracking.markdown import summary_markdown
    from specs_lab.tracking.report import print_summary, summarise

    jobs = find_jobs(arguments.sweep) if arguments.sweep.is_dir() else []
    if not jobs:
        fix = "give the folder of a sweep, e.g. multirun/<date>/<time>"
        raise UserError([Fault(str(arguments.sweep), "there are no finished jobs in it", fix)])
    notes = []
    if arguments.arms:
        if not arguments.out or arguments.out.resolve() == arguments.sweep.resolve():
            fix = "give --out a folder of its own"
            raise UserError([Fault("--arms", "the summary of a part would replace that of the whole sweep", fix)])
        jobs = _of_arms(jobs, arguments.arms)
        notes = [f"only arms called {' or '.join(arguments.arms)}"]
    summary = summarise(arguments.out or arguments.sweep, jobs, steps=arguments.steps, notes=notes)
    print_summary(Console(), summary)
    if arguments.markdown:
        arguments.markdown.write_text(summary_markdown(summary, arguments.command), encoding="utf-8")


def _of_arms(jobs: Sequence[Path], patterns: Sequence[str]) -> list[Path]:
    """The jobs whose arm is called like one of the patterns (shell wildcards), and those that left no record.

    Nobody knows the arm of a job that was killed: it stays in, so that the summary says that results may be missing.
    """
    from specs_lab.tracking.frames import read_job
    from specs_lab.tracking.rows import JOB_FILE

    arms = {job: read_job(job).arm if (job / JOB_FILE).is_file() else None for job in jobs}
    known = dict.fromkeys(arm for arm in arms.values() if arm is not None)

    def fits(arm: str, pattern: str) -> bool:
        return arm == pattern or fnmatchcase(arm, pattern)

    idle = [pattern for pattern in patterns if not any(fits(arm, pattern) for arm in known)]
    raise_faults([Fault(f"--arms {one}", "no arm is called so", f"the sweep has: {', '.join(known)}") for one in idle])
    return [job for job, arm in arms.items() if arm is None or any(fits(arm, pattern) for pattern in patterns)]


if __name__ == "__main__":
    main()
