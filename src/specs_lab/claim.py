"""Reaches verdicts on claims: ``specs-lab claim experiments/<name>``, or ``specs-lab claim experiments --index``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from specs_lab.core.errors import EXIT_USER_ERROR, Fault, UserError, raise_faults


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="specs-lab claim", description="Tests an experiment's claim on its results, by what was expected of them."
    )
    parser.add_argument("folders", type=Path, nargs="+", metavar="folder", help="an experiment: it has expected.json")
    parser.add_argument(
        "--index", action="store_true", help="the folder holds experiments: write the table of all verdicts"
    )
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """The command line. Exit codes: 0 fine, 2 wrong input."""
    arguments = _arguments(argv)
    try:
        _index(arguments.folders) if arguments.index else _claims(arguments.folders)
    except UserError as error:
        print(error, file=sys.stderr)
        sys.exit(EXIT_USER_ERROR)


def _claims(folders: Sequence[Path]) -> None:
    from specs_lab.tracking.verdicts import decide  # imports pandas

    faults: list[Fault] = []
    for folder in folders:
        try:
            verdict = decide(folder)
        except UserError as error:
            faults += error.faults
        else:
            print(f"{folder}: {verdict.word}. {verdict.details}")
    raise_faults(faults)


def _index(folders: Sequence[Path]) -> None:
    from specs_lab.tracking.verdicts import write_index

    for folder in folders:
        print(write_index(folder))


if __name__ == "__main__":
    main()
