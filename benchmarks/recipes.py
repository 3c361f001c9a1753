"""What every recipe costs and ends with: ``python -m benchmarks.recipes SWEEP``.

SWEEP is the folder of a sweep over recipes, made by ``specs-lab -m recipe=specs,zero,...``. A recipe's time is the sum
over its stages of what making each took, whether or not it was found in the store: what it costs by itself.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.duel import ROOT
from benchmarks.results import machine, write
from specs_lab.tracking.frames import find_jobs, read_job, select
from specs_lab.tracking.report import estimate, load_sweep
from specs_lab.tracking.scores import SCORE_COLUMNS

FINAL = ("evaluate_final", "evaluate_zero")
"""The stages that evaluate what a recipe ends with, the first that it has."""


def outcomes(sweep: Path) -> list[dict[str, Any]]:
    """A line for each recipe of a sweep with one seed."""
    jobs = find_jobs(sweep)
    summary = estimate(sweep, load_sweep(jobs, SCORE_COLUMNS))
    lines = []
    for job in map(read_job, jobs):
        stage = next(name for name in FINAL if name in job.stages)
        reading = summary.readings[job.arm]
        scores = {}
        for place, cell in (("id", reading.id), ("ood", reading.ood)):
            for metric in ("joint", "accuracy"):
                found = select(
                    summary.table, arm=[job.arm, "all arms"], versus="", stage=stage, cell=cell, metric=metric
                )
                row = found.to_dict(orient="records")[0]
                scores[f"{place} {metric}"] = [row["value"], row["low"], row["high"]]
        lines.append(
            {
                "recipe": job.arm,
                "seed": job.seed,
                "stages": len(job.stages),
                "seconds": sum(one.seconds for one in job.stages.values()),
                "ood": reading.ood,
                **scores,
            }
        )
    return lines


def main(arguments: Sequence[str] | None = None) -> int:
    """Reads the sweep, writes and prints."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.recipes", description=__doc__)
    parser.add_argument("sweep", type=Path)
    parser.add_argument("--command", default="", help="what made the sweep")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "recipes.json")
    given = parser.parse_args(arguments)
    results = {
        "kind": "recipes",
        "machine": machine(),
        "settings": {"threads": 1},
        "command": given.command,
        "recipes": outcomes(given.sweep),
    }
    write(results, given.out)
    print(json.dumps(results["recipes"], indent=1))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
