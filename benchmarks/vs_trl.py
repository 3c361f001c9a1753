"""Measures specs_lab against TRL: ``python -m benchmarks.vs_trl``. Needs the extra ``bench``.

Both sides train the same random-weight model on the same data, each in its own trainer loop and process, in turn.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from benchmarks.cases import CPU_CASES, CUDA_CASES, METHODS, SLACK, Case, Order
from benchmarks.data import prompt_tokens
from benchmarks.duel import ROOT, Side, SideDied, duel
from benchmarks.flops import H200_TFLOPS, sharing_bound, step_flops
from benchmarks.models import SHAPES, checkpoint
from benchmarks.results import machine, part_ratios, ratios, summary, write
from benchmarks.tables import table

RESULTS = ROOT / "benchmarks" / "results"


@dataclass(frozen=True)
class Settings:
    """How all cases of a run are measured.

    Attributes:
        shape: Name of the model's shape.
        device: ``cpu`` or ``cuda``.
        large: As on a GPU: bfloat16, gradient checkpointing, and throughput in the results.
        together: Sides take steps in turn; otherwise one runs after the other.
        peak_tflops: Of the device, for MFU.
    """

    shape: str
    device: str
    large: bool
    threads: int
    steps: int
    warmup: int
    compact: bool
    together: bool
    peak_tflops: float


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.vs_trl", description=__doc__)
    parser.add_argument("--only", default=",".join(METHODS), help="methods, joined by commas (default: all)")
    parser.add_argument("--match", default="", help="only cases whose name contains this, e.g. '448 px'")
    parser.add_argument("--shape", choices=SHAPES, default="mini", help="model (default: mini)")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of each side")
    parser.add_argument("--steps", type=int, default=7, help="counted steps of each side")
    parser.add_argument("--warmup", type=int, default=2, help="steps of each side before them")
    parser.add_argument(
        "--trl",
        choices=("compact", "as-is"),
        default="compact",
        help="compact: TRL scores completion positions only on the CPU too, as it does on a GPU by itself",
    )
    parser.add_argument("--peak-tflops", type=float, default=H200_TFLOPS, help="of the GPU in bfloat16, for MFU")
    parser.add_argument(
        "--one-at-a-time", action="store_true", help="one side after the other, to save memory (always so with 7b)"
    )
    parser.add_argument("--out", type=Path, help="results as JSON (default: benchmarks/results/vs_trl[_...].json)")
    parser.add_argument(
        "--dry-run", action="store_true", help="the cases and the code of --device cuda, shrunken, one step on the CPU"
    )
    return parser.parse_args(arguments)


def settings_of(options: argparse.Namespace) -> Settings:
    """What a command line means."""
    dry = options.dry_run
    return Settings(
        shape="mini" if dry else options.shape,
        device="cpu" if dry else options.device,
        large=dry or options.device == "cuda",
        threads=options.threads,
        steps=1 if dry else options.steps,
        warmup=1 if dry else options.warmup,
        compact=options.trl == "compact",
        together=not (options.one_at_a_time or options.shape == "7b"),
        peak_tflops=options.peak_tflops,
    )


def chosen_cases(options: argparse.Namespace) -> Iterator[Case]:
    """The cases that a command line asks for, each once."""
    methods = options.only.split(",")
    unknown = sorted(set(methods) - set(METHODS))
    if unknown:
        sys.exit(f"--only: there is no method {', '.join(unknown)}; there are {', '.join(METHODS)}")
    cases = CUDA_CASES if options.dry_run or options.device == "cuda" else CPU_CASES
    if options.dry_run:
        cases = tuple(dict.fromkeys(replace(case, image=56, completion=16) for case in cases))
    yield from (case for case in cases if case.method in methods and options.match in case.name)


def measure(case: Case, model: Path, settings: Settings, say: Any) -> dict[str, Any]:
    """One case: both sides' summaries and how they compare."""
    order = Order(
        case=case,
        model=str(model),
        steps=settings.warmup + settings.steps + SLACK,
        warmup=settings.warmup,
        device=settings.device,
        dtype="bfloat16" if settings.large else "float32",
        threads=settings.threads,
        gradient_checkpointing=settings.large,
        compact=settings.compact,
    )

    def ours(_: list[dict[str, Any]]) -> Side:
        return Side.module("specs_lab", "benchmarks.our_side", order.to_json(), threads=settings.threads)

    def trl(before: list[dict[str, Any]]) -> Side:
        told = replace(order, fused_adamw=before[0]["fused_adamw"])
        return Side.module("TRL", "benchmarks.trl_side", told.to_json(), threads=settings.threads)

    def on_round(number: int) -> None:
        say(f"  {case.name}: step {number + 1} of {settings.warmup + settings.steps}")

    outcomes = duel(
        [ours, trl], steps=settings.steps, warmup=settings.warmup, together=settings.together, on_round=on_round
    )
    left, right = map(summary, outcomes)
    result = {
        "name": case.name,
        **asdict(case),
        "prompt_tokens": prompt_tokens(case),
        "sharing_bound": sharing_bound(case, left["tokens"]),
        "vocab": SHAPES[settings.shape].vocab,
        "ours": left,
        "trl": right,
        **ratios(outcomes[0].steps, outcomes[1].steps),
        "part_ratios": part_ratios(left["parts"], right["parts"]),
        "memory_ratio": right["peak_mb"] / left["peak_mb"],
    }
    if settings.large:
        for side in (left, right):
            # Where TRL cannot do without its reference's pass, that pass is work of its own.
            does = replace(case, reference="online") if "refused" in side["facts"].get("reference", "") else case
            flops = step_flops(does, left["tokens"], left["facts"]["parameters"])
            seconds = side["seconds"]["median"]
            side["tokens_per_second"] = side["tokens"] / seconds
            side["mfu"] = flops / seconds / (settings.peak_tflops * 1e12)
    return result


def default_out(settings: Settings, dry_run: bool) -> Path:
    """A file of its own for each kind of run; its name is also the name of its table in the README."""
    parts = ["vs_trl", *[settings.shape] * (settings.shape != "mini"), *["as_is"] * (not settings.compact)]
    return Path(tempfile.gettempdir()) / "dry_run.json" if dry_run else RESULTS / ("_".join(parts) + ".json")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures, writes after each case, prints the table; 1 if a case failed."""
    options = parse(arguments)
    settings = settings_of(options)
    cases = list(chosen_cases(options))
    out: Path = options.out or default_out(settings, options.dry_run)

    def say(text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    if settings.device == "cuda" and not torch.cuda.is_available():
        sys.exit("--device cuda: there is no GPU here; --dry-run goes the same way on the CPU, with a small model")
    say(f"model {settings.shape} ...")
    dtype = torch.bfloat16 if settings.large else torch.float32
    model = checkpoint(SHAPES[settings.shape], dtype=dtype, device=settings.device)
    results: dict[str, Any] = {
        "kind": "vs_trl",
        "machine": machine(settings.device),
        "settings": asdict(settings),
        "cases": [],
    }
    failed = 0
    for number, case in enumerate(cases, 1):
        say(f"case {number} of {len(cases)}: {case.name}")
        try:
            results["cases"].append(measure(case, model, settings, say))
        except (SideDied, ValueError) as error:
            failed += 1
            say(str(error))
            results["cases"].append({"name": case.name, **asdict(case), "error": str(error).splitlines()[0]})
        write(results, out)
    print(table(results))
    say(f"written to {out}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
