"""Two processes against one: the same trainings, how far their weights are apart, and what they take.

``python -m benchmarks.ranks`` runs ``tests/training/ranks.py``: two steps of each method on the `tiny` model, on the
CPU with one thread a process: five items of uneven lengths, one of them without a picture, in micro-batches; and one
item, so that the second process has nothing to do. SFT also trains the vision tower; GRPO has a KL term, two inner
updates and resamples.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from safetensors.torch import load_file

from benchmarks.duel import ROOT
from benchmarks.results import machine, write

METHODS = ("sft", "dpo", "hybrid", "grpo")
STRATEGIES = ("ddp", "fsdp2")
SIZES = (5, 1)
RANKS = 2
_SCRIPT = ROOT / "tests" / "training" / "ranks.py"


def _run(folder: Path, strategy: str) -> None:
    """Runs all trainings under a strategy; on one process if that is ``single``."""
    several = ("-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={RANKS}")
    command = [sys.executable, *(() if strategy == "single" else several), str(_SCRIPT), str(folder), strategy]
    subprocess.run(command, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"}, stderr=subprocess.DEVNULL)


def compare(one: Path, several: Path, name: str) -> dict[str, Any]:
    """How two runs of a training differ.

    Args:
        one: Results of one process.
        several: Results of several.
        name: The training's.

    Returns:
        The largest and the mean difference of weights, the largest of metrics relative to their size (or to 1e-3, where
        they are smaller), and the seconds of both.
    """
    weights, others = (load_file(folder / f"{name}.safetensors") for folder in (one, several))
    metrics, theirs = (json.loads((folder / f"{name}.json").read_text()) for folder in (one, several))
    gaps = [(weights[key] - others[key]).abs() for key in weights]
    seconds = [float((folder / f"{name}.seconds").read_text()) for folder in (one, several)]
    return {
        "largest": max(float(gap.max()) for gap in gaps),
        "mean": float(sum(float(gap.sum()) for gap in gaps) / sum(gap.numel() for gap in gaps)),
        "metrics": max(abs(metrics[key] - theirs[key]) / max(abs(metrics[key]), 1e-3) for key in metrics),
        "seconds": seconds,
        "ratio": seconds[1] / seconds[0],
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/ranks.json"))
    out = parser.parse_args(arguments).out
    with tempfile.TemporaryDirectory() as place:
        folders = {name: Path(place) / name for name in ("single", *STRATEGIES)}
        for strategy, folder in folders.items():
            folder.mkdir()
            _run(folder, strategy)
        rows = [
            {
                "method": method,
                "items": size,
                "strategy": strategy,
                **compare(folders["single"], folders[strategy], f"{method}-{size}"),
            }
            for method in METHODS
            for size in SIZES
            for strategy in STRATEGIES
        ]
    for row in rows:
        print(" ".join(f"{name} {value}" for name, value in row.items()))
    write({"kind": "ranks", "machine": machine(), "ranks": RANKS, "rows": rows}, out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
