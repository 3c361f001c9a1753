"""A sweep by several workers against one after the other: ``python -m benchmarks.sweeps``.

Both start from an empty store and run the same jobs, small studies of four cold starts (``none`` among them) and three
seeds, one thread a job. Counted is how often each stage was made, from what jobs and manifests say; every one should be
made once, however many jobs want it at the same time. What follows ``--`` are more overrides.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.duel import ROOT, environment
from benchmarks.results import machine, write
from benchmarks.tables import table

JOBS = ("coldstart=none,sft,dpo,hybrid", "seed=0,1,2")
SETTINGS = ("experiment=smoke", "trainer.threads=1", "zero.steps=6", "data.pairs=16", "logger=csv")


class SweepFailed(RuntimeError):
    """A sweep ended with an error."""


def run(folder: Path, launcher: Sequence[str], overrides: Sequence[str]) -> dict[str, Any]:
    """Runs the sweep once, from nothing.

    Args:
        folder: For its results and its store.
        launcher: The overrides that say how its jobs are run.
        overrides: The others.

    Raises:
        SweepFailed: If it fails; with the end of what it printed.
    """
    folder.mkdir()
    sweep, store, log = folder / "sweep", folder / "store", folder / "log.txt"
    command = [sys.executable, "-m", "specs_lab.run", "-m", *overrides, *launcher, f"hydra.sweep.dir={sweep}"]
    variables = {**os.environ, **environment(1), "SPECS_LAB_CACHE": str(store)}
    start = time.perf_counter()
    with log.open("w") as output:
        process = subprocess.Popen(command, cwd=folder, env=variables, stdout=output, stderr=subprocess.STDOUT)
        # `wait4` also tells of the processes that the sweep itself has started and waited for.
        _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-40:])
        raise SweepFailed(f"exit code {process.returncode}\n{tail}")
    return {
        "launcher": list(launcher),
        "seconds": seconds,
        "cpu_seconds": usage.ru_utime + usage.ru_stime,
        **count_stages(sweep, store),
        "summary": (sweep / "summary.csv").read_text(),
    }


def count_stages(sweep: Path, store: Path) -> dict[str, Any]:
    """How often each stage was asked for and made, and how long it took, by its kind."""
    jobs = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(sweep.glob("*/job.json"))]
    used, made, kinds, seconds = Counter[str](), Counter[str](), dict[str, str](), dict[str, float]()
    for job in jobs:
        for stage in job["stages"].values():
            key = stage["key"]
            used[key] += 1
            made[key] += not stage["cached"]
            kinds[key], seconds[key] = stage["kind"], stage["seconds"]
    attempts = [json.loads(path.read_text()).get("attempts", 1) for path in store.glob("*/*/manifest.json")]
    return {
        "jobs": len(jobs),
        "completed": sum(job["status"] == "completed" for job in jobs),
        "stages": len(used),
        "shared": sum(count > 1 for count in used.values()),
        "used": sum(used.values()),
        "made": sum(made.values()),
        "made_more_than_once": sorted(f"{kinds[key]}/{key}" for key, count in made.items() if count != 1),
        "most_attempts": max((len(one) if isinstance(one, list) else int(one) for one in attempts), default=0),
        "stage_seconds": sum(seconds.values()),
        "stage_seconds_unshared": sum(count * seconds[key] for key, count in used.items()),
    }


def results_of(serial: dict[str, Any], parallel: dict[str, Any], workers: int, overrides: Sequence[str]) -> dict:
    """What is written: both sweeps, and what they say together."""
    same = serial.pop("summary") == parallel.pop("summary")
    return {
        "kind": "sweeps",
        "machine": machine(),
        "settings": {"threads": 1, "workers": workers},
        "command": " ".join(["specs-lab", "-m", *overrides]),
        "sides": {"one after the other": serial, f"{workers} workers": parallel},
        "ratio": serial["seconds"] / parallel["seconds"],
        "cpu_ratio": serial["cpu_seconds"] / parallel["cpu_seconds"],
        "same_summary": same,
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs both, writes and prints."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    place = given.index("--") if "--" in given else len(given)
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sweeps", description=__doc__)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "sweeps.json")
    options = parser.parse_args(given[:place])
    overrides = [*JOBS, *SETTINGS, *given[place + 1 :]]
    sides = []
    with tempfile.TemporaryDirectory(prefix="specs_lab_sweeps_") as scratch:
        for name, jobs in (("parallel", options.workers), ("serial", 1)):
            print(f"{name}: {jobs} at a time ...", file=sys.stderr, flush=True)
            launcher = ["hydra/launcher=processes", f"hydra.launcher.n_jobs={jobs}"]
            try:
                sides.append(run(Path(scratch) / name, launcher, overrides))
            except SweepFailed as error:
                print(error, file=sys.stderr)
                return 1
            print(f"  {sides[-1]['seconds']:.1f} s", file=sys.stderr, flush=True)
    parallel, serial = sides
    results = results_of(serial, parallel, options.workers, overrides)
    write(results, options.out)
    print(table(results))
    return 0


if __name__ == "__main__":
    sys.exit(main())
