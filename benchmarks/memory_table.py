"""Estimated against measured peak memory of training: what ``python -m benchmarks.memory`` does."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from benchmarks.duel import ROOT
from benchmarks.memory_cases import ADAPTERS, METHODS, MemoryCase, run
from benchmarks.models import SHAPES, Shape, checkpoint
from benchmarks.results import machine, write
from benchmarks.tables import memory_row, table
from specs_lab.models.sources.embedded import CHECKPOINTS

WITHIN = 0.15
"""How far an estimate may be off."""
_150M = Shape(
    hidden=768,
    layers=12,
    heads=12,
    kv_heads=4,
    feed_forward=3072,
    vocab=32768,
    tied=True,
    vision_layers=6,
    vision_hidden=512,
    vision_feed_forward=1376,
    vision_heads=8,
    full_attention=(2, 5),
)
_SHAPES = {**SHAPES, "150m": _150M, "qwen2_5_vl_3b": SHAPES["3b"], "qwen2_5_vl_7b": SHAPES["7b"]}
SMALL = "small"
"""The embedded model, as it is shipped."""


def cases(device: str, shape: str) -> Iterator[MemoryCase]:
    """What is run: every method, full and with LoRA; then on one method what else an estimate depends on."""
    sizes: dict[str, Any] = {"prompts": 2, "group": 4, "image": 224, "text": 40, "completion": 32}
    if shape == SMALL:  # its pictures are of 64 x 64 pixels, its positions few
        sizes |= {"prompts": 8, "image": 64, "text": 8}
    if device == "cuda":
        sizes |= {"group": 8, "image": 448, "completion": 256, "half": True, "steps": 5, "checkpointing": True}
    for method in METHODS:
        for adapter in ADAPTERS:
            yield MemoryCase(method=method, adapter=adapter, **sizes)
    yield MemoryCase(method="grpo", kl_weight=0.04, **sizes)
    dpo = MemoryCase(method="dpo", **sizes)
    yield replace(dpo, adapter="dora")
    yield replace(dpo, adapter="qlora", half=True)
    yield replace(dpo, half=not dpo.half)
    yield replace(dpo, checkpointing=not dpo.checkpointing)
    yield replace(dpo, train_vision=True)
    yield replace(dpo, micro_batch_tokens=128)


def measure(shape: str, device: str, threads: int) -> Iterator[dict[str, Any]]:
    """A row of the table for each case."""
    folder = CHECKPOINTS / "small-0" if shape == SMALL else checkpoint(_SHAPES[shape])
    for case in cases(device, shape):
        measured, told = run(case, folder, device, threads)
        yield {
            "shape": shape,
            "case": asdict(case),
            "estimate_bytes": told.peak,
            "measured_bytes": measured,
            "ratio": told.peak / measured,
            "parts_bytes": told.parts,
        }


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures, writes and prints; 1 if an estimate is further off than :data:`WITHIN`."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.memory", description=__doc__)
    parser.add_argument("--shape", nargs="+", choices=[SMALL, *_SHAPES], default=[SMALL, "150m"])
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, help="default: benchmarks/results/memory.json, or memory_cuda.json")
    options = parser.parse_args(arguments)
    name = "memory.json" if options.device == "cpu" else "memory_cuda.json"
    rows: list[dict[str, Any]] = []
    for shape in options.shape:
        for row in measure(shape, options.device, options.threads):
            rows.append(row)
            print(" | ".join(memory_row(row)), file=sys.stderr, flush=True)
    settings = {"threads": options.threads}
    results = {
        "kind": "memory",
        "machine": machine(options.device),
        "settings": settings,
        "within": WITHIN,
        "rows": rows,
    }
    write(results, options.out or ROOT / "benchmarks" / "results" / name)
    print(table(results))
    return int(any(abs(row["ratio"] - 1) > WITHIN for row in rows))
