"""Writes a trained model as a plain Hugging Face folder: ``specs-lab export JOB --to DIR``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from specs_lab.core.errors import EXIT_USER_ERROR, UserError

_DTYPES = ("bfloat16", "float32")


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="specs-lab export",
        description="Writes a trained model as a plain Hugging Face folder, for transformers, vLLM and TRL.",
    )
    parser.add_argument("source", type=Path, help="folder of a job, of a sweep, or of a finished stage")
    parser.add_argument("--to", type=Path, required=True, metavar="DIR", help="the folder to write; new or empty")
    parser.add_argument("--stage", help="which stage of the job; by default the last that made a model")
    parser.add_argument("--job", help="which job of a sweep, by its folder's name or its arm")
    parser.add_argument("--dtype", choices=_DTYPES, help="how weights are stored; by default as they are now")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """The command line. Exit codes: 0 fine, 2 wrong input."""
    arguments = _arguments(argv)
    try:
        from specs_lab.interop.exporting import export
        from specs_lab.interop.sources import find_source
        from specs_lab.interop.targets import check_free

        check_free(arguments.to)
        source = find_source(arguments.source, arguments.stage, arguments.job)
        export(source, arguments.to, dtype=arguments.dtype)
    except UserError as error:
        print(error, file=sys.stderr)
        sys.exit(EXIT_USER_ERROR)
    print(f"{arguments.to}: {source.name}")


if __name__ == "__main__":
    main()
