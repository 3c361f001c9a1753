"""Reads data of other trainers: ``specs-lab import llama_factory FILE --to pairs.parquet``, or ``easyr1``."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from specs_lab.core.errors import EXIT_USER_ERROR, UserError


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="specs-lab import", description="Reads data sets of other trainers.")
    kinds = parser.add_subparsers(dest="kind", required=True, metavar="KIND")
    llama = kinds.add_parser(
        "llama_factory", help="LLaMA-Factory's ShareGPT data, also preferences, as training pairs for data=file"
    )
    llama.add_argument("data", type=Path, metavar="FILE", help=".json, .jsonl or .parquet")
    llama.add_argument("--to", type=Path, required=True, metavar="FILE", help="the parquet file to write")
    llama.add_argument(
        "--dataset-info", type=Path, metavar="FILE", help="dataset_info.json, for other names of columns"
    )
    llama.add_argument("--name", help="the entry of it; by default the one whose file_name is FILE")
    easy = kinds.add_parser("easyr1", help="EasyR1's data as problems for problems=local")
    easy.add_argument(
        "data", type=Path, metavar="FILE|FOLDER", help=".parquet, .jsonl or .json, one or a folder of them"
    )
    easy.add_argument("--to", type=Path, required=True, metavar="DIR", help="the folder to write; new or empty")
    for name, default in (("prompt", "problem"), ("answer", "answer"), ("image", "images")):
        easy.add_argument(f"--{name}-key", default=default, metavar="COLUMN", help=f"default: {default}")
    for kind in (llama, easy):
        kind.add_argument(
            "--images", type=Path, metavar="DIR", help="where paths of pictures start; default: beside FILE"
        )
        kind.add_argument(
            "--skip-broken", action="store_true", help="leave rows out that cannot be used, and count them"
        )
    arguments = parser.parse_args(argv)
    if arguments.kind == "llama_factory" and arguments.name is not None and arguments.dataset_info is None:
        parser.error("--name is an entry of --dataset-info, which is not given")
    return arguments


def main(argv: Sequence[str] | None = None) -> None:
    """The command line. Exit codes: 0 fine, 2 wrong input."""
    arguments = _arguments(argv)
    try:
        _llama_factory(arguments) if arguments.kind == "llama_factory" else _easyr1(arguments)
    except UserError as error:
        print(error, file=sys.stderr)
        sys.exit(EXIT_USER_ERROR)


def _llama_factory(arguments: argparse.Namespace) -> None:
    from pyarrow import parquet

    from specs_lab.cli.progress_view import progress_view, sink_of
    from specs_lab.core.progress import Progress
    from specs_lab.interop.importing import import_llama_factory
    from specs_lab.interop.llama_factory import read_layout

    info: Path | None = arguments.dataset_info
    layout = None if info is None else read_layout(info, arguments.data, arguments.name)
    with progress_view(Console(stderr=True), n_jobs=1) as view:
        view.job_started("import")
        counts = import_llama_factory(
            arguments.data,
            arguments.to,
            images=arguments.images,
            layout=layout,
            skip_broken=arguments.skip_broken,
            progress=Progress(sink_of(view, "import")),
        )
    print(f"{arguments.to}: {_summary(counts, 'pairs')}")
    one_sided = parquet.read_table(arguments.to, columns=["rejected"]).column(0).null_count
    words = " coldstart=sft data.rejected=false" if one_sided else ""  # SFT alone needs no other side
    print(f"train on them: specs-lab data=file data.path={arguments.to}{words}")


def _easyr1(arguments: argparse.Namespace) -> None:
    from specs_lab.cli.progress_view import progress_view, sink_of
    from specs_lab.core.progress import Progress
    from specs_lab.interop.easyr1 import Keys
    from specs_lab.interop.importing import import_easyr1

    with progress_view(Console(stderr=True), n_jobs=1) as view:
        view.job_started("import")
        counts = import_easyr1(
            arguments.data,
            arguments.to,
            images=arguments.images,
            keys=Keys(prompt=arguments.prompt_key, answer=arguments.answer_key, images=arguments.image_key),
            skip_broken=arguments.skip_broken,
            progress=Progress(sink_of(view, "import")),
        )
    for split, found in counts.items():
        print(f"{arguments.to}, {split}: {_summary(found, 'problems')}")
    held_out = next((split for split in ("test", "validation") if split in counts and len(counts) > 1), None)
    splits = "".join(f" problems.splits.{side}={held_out}" for side in ("id", "ood")) if held_out else ""
    print(f"draw from them: specs-lab problems=local problems.path={arguments.to}{splits}")


def _summary(counts: Counter[str], what: str) -> str:
    broken = {name.removeprefix("broken/"): n for name, n in sorted(counts.items()) if name.startswith("broken/")}
    left_out = f"; left out: {', '.join(f'{name} {n}' for name, n in broken.items())}" if broken else ""
    return f"{counts['rows'] - sum(broken.values())} {what} of {counts['rows']} rows{left_out}"


if __name__ == "__main__":
    main()
