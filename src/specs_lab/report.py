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
    parser.add_argument("--arms", nargs="+", metavar="PATTERN", help="only these arms, e.g. 'sft*' '*lr=0.001'")
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
    if arguments.arms:
        jobs = _of_arms(jobs, arguments.arms)
    summary = summarise(arguments.out or arguments.sweep, jobs, steps=arguments.steps)
    print_summary(Console(), summary)
    if arguments.markdown:
        arguments.markdown.write_text(summary_markdown(summary, arguments.command), encoding="utf-8")


def _of_arms(jobs: Sequence[Path], patterns: Sequence[str]) -> list[Path]:
    """The jobs whose arm matches one of the patterns, in which ``*`` stands for anything."""
    from specs_lab.tracking.frames import read_job

    arms = {job: read_job(job).arm for job in jobs}
    idle = [pattern for pattern in patterns if not any(fnmatchcase(arm, pattern) for arm in arms.values())]
    known = ", ".join(dict.fromkeys(arms.values()))
    raise_faults([Fault(f"--arms {pattern}", "no arm is called so", f"the sweep has: {known}") for pattern in idle])
    return [job for job, arm in arms.items() if any(fnmatchcase(arm, pattern) for pattern in patterns)]


if __name__ == "__main__":
    main()
