"""What each fault does to each kind of stage: ``python -m benchmarks.faults``.

Every cell is made of real processes: one that meets the fault, and, if that ends badly, the same command once more. It
tells how the first ended and what it said, what had to be done again, and whether the end is bit-identical to a run
without a fault. Filling disks and making them read-only takes the right to mount one in memory; where there is none,
these cells are left out and said to be.
"""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.duel import ROOT
from benchmarks.faults_list import FAULTS, Fault
from benchmarks.faults_scene import CannotStage, Outcome, Scene
from benchmarks.results import machine, write
from benchmarks.soak import digest
from benchmarks.soak_cases import chosen
from benchmarks.soak_launch import Launcher, Processes, Zygotes, snapshot
from benchmarks.soak_trial import Reference, make_reference

Json = dict[str, Any]


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.faults", description=__doc__)
    parser.add_argument("--faults", help="parts of names of faults, comma-separated; default: all")
    parser.add_argument("--stages", help="names or kinds of stages, comma-separated; default: all")
    parser.add_argument("--jobs", type=int, default=2, help="cells at a time; default: 2")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="start no cell after so many; no limit")
    parser.add_argument("--zygote", action="store_true", help="fork jobs from a process that has imported everything")
    parser.add_argument("--work", type=Path, help="folder to work in, and to go on in; default: a temporary one")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "faults.json")
    return parser.parse_args(arguments)


def cell(fault: Fault, reference: Reference, launcher: Launcher, work: Path) -> Outcome:
    """Makes one fault meet one stage; the cell's folder stays if something is wrong."""
    folder = work / "cells" / f"{fault.name.replace(' ', '-').replace('&', 'and')}-{reference.case.name}"
    shutil.rmtree(folder, ignore_errors=True)
    scene = Scene(launcher, reference, folder, work / "conf")
    try:
        fault.make(scene)
        outcome = scene.outcome(fault.name)
    except CannotStage as error:
        outcome = Outcome(fault.name, reference.case.name, said=f"not made here: {error}", again="?")
    finally:
        scene.close()
    if not outcome.faults:
        shutil.rmtree(folder)
    return outcome


def cells(given: argparse.Namespace, work: Path) -> list[Json]:
    """The outcomes of all cells that are asked for; those that are in the work folder's list are not made again."""
    site = snapshot(work / "site")
    log = work / f"cells-{digest(site)}.jsonl"
    found = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()] if log.exists() else []
    known = {(one["fault"], one["stage"]) for one in found}
    words = given.faults.split(",") if given.faults else [""]
    faults = [fault for fault in FAULTS if any(word in fault.name for word in words)]
    cases = [case for case in chosen(given.stages) if any(case.name in fault.stages for fault in faults)]
    deadline = time.monotonic() + 60 * given.minutes

    def timely(fault: Fault, reference: Reference) -> Outcome | None:
        return cell(fault, reference, launcher, work) if time.monotonic() < deadline else None

    with (Zygotes if given.zygote else Processes)(site) as launcher, ThreadPoolExecutor(given.jobs) as pool:
        references = list(pool.map(lambda case: make_reference(case, launcher, work), cases))
        waiting = [
            pool.submit(timely, fault, reference)
            for fault in faults
            for reference in references
            if reference.case.name in fault.stages and (fault.name, reference.case.name) not in known
        ]
        try:
            for future in as_completed(waiting):
                result = future.result()
                if result is not None:
                    found.append(_note(asdict(result), log))
        finally:  # of what was not begun, nothing
            pool.shutdown(wait=False, cancel_futures=True)
    order = {fault.name: place for place, fault in enumerate(FAULTS)}
    return sorted(found, key=lambda one: (order[one["fault"]], one["stage"]))


def _note(outcome: Json, log: Path) -> Json:
    with log.open("a", encoding="utf-8") as file:
        file.write(json.dumps(outcome) + "\n")
    rest = "; ".join(outcome["faults"]) or f"again: {outcome['again']}; same: {outcome['same']}"
    print(f"{outcome['fault']} x {outcome['stage']}: {outcome['code']}; {rest}; {outcome['said']}", flush=True)
    return outcome


def main(arguments: Sequence[str] | None = None) -> int:
    """Makes the matrix, prints and writes it; 1 if a cell is not as it should be."""
    given, start = parse(arguments), time.monotonic()
    with tempfile.TemporaryDirectory(prefix="faults") as folder:
        work = (given.work or Path(folder)).absolute()
        work.mkdir(parents=True, exist_ok=True)
        found = cells(given, work)
    results = {
        "kind": "faults",
        "machine": machine(),
        "settings": {"zygote": given.zygote, "threads": 1},
        "seconds": time.monotonic() - start,
        "cells": found,
    }
    write(results, given.out)
    bad = sum(bool(one["faults"]) for one in found)
    print(f"{len(found)} cells, {bad} not as they should be", flush=True)
    return 1 if bad else 0


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))  # so that jobs and mounts are ended, too
    sys.exit(main())
