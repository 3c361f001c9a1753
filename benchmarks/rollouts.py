"""RL with vLLM's rollouts and with our own: ``SPECS_LAB_VLLM=.../bin/python python -m benchmarks.rollouts``.

Trains the shipped tiny model by GRPO, as the recipe ``zero`` does, with several seeds in process, whose spread is the
noise, and with vLLM's CPU build, whose weights follow after every step and are checked each time.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.duel import ROOT
from benchmarks.results import machine, write
from benchmarks.tables import rollouts_table
from benchmarks.vllm_server import python_of_vllm

_SETTINGS = ["experiment=smoke", "recipe=zero", "zero.prompts_per_step=8", "zero.group_size=8", "zero.lr=2e-4"]
_LAST = 5
"""Steps at the end whose mean reward is compared."""
_FIRST = 1
"""Steps that are left out of speeds: the server starts in the first."""


def train(folder: Path, seed: int, steps: int, options: Sequence[str]) -> dict[str, Any]:
    """Runs a study; returns the metrics of its RL by name, step by step, and tokens a second."""
    command = [sys.executable, "-m", "specs_lab.run", *_SETTINGS, f"zero.steps={steps}", f"seed={seed}", *options]
    environment = os.environ | {
        "SPECS_LAB_CACHE": str(folder / "cache"),
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "OMP_NUM_THREADS": "1",
        "HF_HUB_OFFLINE": "1",
    }
    command.append(f"hydra.run.dir={folder / 'job'}")
    subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)
    (file,) = (folder / "cache" / "rl").glob("*/rows.csv")
    with file.open(encoding="utf-8") as opened:
        rows = list(csv.DictReader(opened))
    curves: dict[str, list[float]] = {}
    for row in rows:
        curves.setdefault(row["metric"], []).append(float(row["value"]))
    ends = {int(row["step"]): (float(row["generated_tokens"]), float(row["seconds"])) for row in rows}
    (some, start), (all_of, end) = ends[_FIRST], ends[steps]
    return {"seed": seed, "curves": curves, "generated_tokens_per_second": (all_of - some) / (end - start)}


def compared(own: Sequence[dict[str, Any]], served: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The rewards of both sides, and their differences at equal seeds beside the spread of seeds."""
    rewards = [np.array([run["curves"]["rollout/reward"] for run in side]) for side in (own, served)]
    last = [side[:, -_LAST:].mean(axis=1) for side in rewards]
    parity = [value for run in served for value in run["curves"]["rollout/parity"]]
    kl = [value for run in served for value in run["curves"]["rollout/mismatch_kl"]]
    return {
        "final_reward": {"inprocess": last[0].tolist(), "vllm": last[1].tolist()},
        "spread_of_seeds": float(rewards[0].std(axis=0, ddof=1).mean()),
        "distance_of_seeds": float(
            np.mean([np.abs(a - b).mean() for i, a in enumerate(rewards[0]) for b in rewards[0][:i]])
        ),
        "distance_of_engines": float(np.abs(rewards[0][: len(rewards[1])] - rewards[1]).mean()),
        "largest_parity": max(parity),
        "largest_mismatch_kl": max(kl),
        "syncs": len(parity),
        "sync_seconds": float(np.median([v for run in served for v in run["curves"]["rollout/sync_seconds"]])),
        "tokens_per_second": {
            name: float(np.median([run["generated_tokens_per_second"] for run in side]))
            for name, side in (("inprocess", own), ("vllm", served))
        },
    }


def draw(own: Sequence[dict[str, Any]], served: Sequence[dict[str, Any]], file: Path) -> None:
    """The curves of reward."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(6, 3.5), layout="constrained")
    for runs, colour, name in ((own, "tab:grey", "in process"), (served, "tab:blue", "vLLM")):
        for number, run in enumerate(runs):
            curve = run["curves"]["rollout/reward"]
            axes.plot(range(1, len(curve) + 1), curve, color=colour, alpha=0.8, label=name if not number else None)
    axes.set(xlabel="step", ylabel="mean reward of the batch")
    axes.legend()
    figure.savefig(file, dpi=150)
    plt.close(figure)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs both sides."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.rollouts", description=__doc__)
    parser.add_argument("--steps", type=int, default=25)
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--served", type=int, default=2, help="seeds that vLLM samples for too")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "rollouts.json")
    given = parser.parse_args(arguments)
    server = [
        "rollout=vllm",
        f"rollout.python={python_of_vllm()}",
        "rollout.args=[--enforce-eager]",
        "rollout.max_length=512",
        "rollout.parity_tolerance=0.001",
    ]
    with tempfile.TemporaryDirectory() as name:
        own = [train(Path(name) / f"own{seed}", seed, given.steps, []) for seed in range(given.seeds)]
        served = [train(Path(name) / f"served{seed}", seed, given.steps, server) for seed in range(given.served)]
    results = {
        "kind": "rollouts",
        "machine": machine(),
        "settings": {"overrides": _SETTINGS, "steps": given.steps, "last": _LAST},
        **compared(own, served),
        "curves": {
            side: {str(run["seed"]): run["curves"]["rollout/reward"] for run in runs}
            for side, runs in (("inprocess", own), ("vllm", served))
        },
    }
    write(results, given.out)
    draw(own, served, given.out.with_suffix(".png"))
    print(rollouts_table(results))
    print(json.dumps({name: results[name] for name in ("distance_of_seeds", "distance_of_engines", "largest_parity")}))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
