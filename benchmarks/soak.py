"""Kills stages at random moments, and sees whether they end with the same bits: ``python -m benchmarks.soak``.

Each trial starts the real command on a store that has a stage's inputs, sends SIGKILL to its whole process group at a
random moment inside the stage, perhaps several times, and lets it run to the end. Then every file has to be as it is
without interruption, but for the columns and fields that say how long something took; nothing may be left behind; and
the stage has to have gone on where its newest checkpoint, or its journal of results, was.

A soak can itself be interrupted: started again in the same ``--work`` folder, it goes on.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from itertools import pairwise
from pathlib import Path
from typing import Any

from benchmarks.duel import ROOT
from benchmarks.results import machine, write
from benchmarks.soak_cases import chosen
from benchmarks.soak_launch import Processes, Zygotes, snapshot
from benchmarks.soak_trial import Reference, Trial, carry_out_trial, make_reference, points_of

Json = dict[str, Any]


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument("--kills", type=int, default=200, help="kills in all; default: 200")
    parser.add_argument("--seed", type=int, default=0, help="of the moments; default: 0")
    parser.add_argument("--stages", help="names or kinds of stages, comma-separated; default: all")
    parser.add_argument("--jobs", type=int, default=2, help="trials at a time; default: 2")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="start no trial after so many; no limit")
    parser.add_argument("--zygote", action="store_true", help="fork jobs from a process that has imported everything")
    parser.add_argument("--work", type=Path, help="folder to work in, and to go on in; default: a temporary one")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "soak.json")
    return parser.parse_args(arguments)


class Soak:
    """The trials of one soak.

    Args:
        given: The command line.
        work: The folder to work in.
    """

    def __init__(self, given: argparse.Namespace, work: Path) -> None:
        self._given, self._work = given, work
        self._site = snapshot(work / "site")
        self._log = work / f"trials-{digest(self._site)}.jsonl"

    def run(self) -> Json:
        """Makes the references, then trials until there are enough kills; the results."""
        start = time.monotonic()
        launcher = (Zygotes if self._given.zygote else Processes)(self._site)
        with launcher, ThreadPoolExecutor(self._given.jobs) as pool:
            cases = chosen(self._given.stages)
            references = list(pool.map(lambda case: make_reference(case, launcher, self._work), cases))
            for one in references:
                _say(f"{one.case.name}: {one.measured}")
            known = {(trial["number"], trial["case"]): trial for trial in self._known()}
            found = list(known.values())
            waiting: set[Future[Trial]] = set()
            numbers = _trials(references)
            while self._wants_more(found, waiting, start) or waiting:
                while len(waiting) < self._given.jobs and self._wants_more(found, waiting, start):
                    number, reference = next(numbers)
                    if (number, reference.case.name) in known:
                        continue
                    points = points_of(reference, self._given.seed, number)
                    waiting.add(pool.submit(carry_out_trial, launcher, reference, points, number, self._work))
                done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                found += [self._note(future.result()) for future in done]
        return results(found, references, self._given, time.monotonic() - start)

    def _wants_more(self, found: Sequence[Json], waiting: Collection[Any], start: float) -> bool:
        kills = sum(trial["kills"] for trial in found) + len(waiting)
        return kills < self._given.kills and time.monotonic() - start < 60 * self._given.minutes

    def _known(self) -> list[Json]:
        """Trials of a soak that was interrupted, of the same code."""
        if not self._log.exists():
            return []
        lines = self._log.read_text(encoding="utf-8").splitlines()
        return [trial for trial in map(json.loads, lines) if trial["seed"] == self._given.seed]

    def _note(self, trial: Trial) -> Json:
        record = {"seed": self._given.seed, **trial.as_json()}
        with self._log.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")
        moments = ", ".join(f"{one.point.how} {one.point.at:g}" for one in trial.attempts if one.point)
        _say(f"{trial.number} {trial.case}: {trial.kills} kills ({moments}); {'; '.join(trial.faults) or 'the same'}")
        return record


def digest(site: Path) -> str:
    """Names the code that is soaked."""
    content = hashlib.sha256()
    for path in sorted(site.rglob("*")):
        if path.suffix in (".py", ".yaml"):
            content.update(path.read_bytes())
    return content.hexdigest()[:12]


def _trials(references: Sequence[Reference]) -> Iterator[tuple[int, Reference]]:
    """Numbered trials, the stages in turn."""
    number = 0
    while True:
        for reference in references:
            yield number, reference
            number += 1


def _say(text: str) -> None:
    print(text, flush=True)


def results(trials: Sequence[Json], references: Sequence[Reference], given: argparse.Namespace, seconds: float) -> Json:
    """What the results file says."""
    return {
        "kind": "soak",
        "machine": machine(),
        "settings": {"seed": given.seed, "zygote": given.zygote, "threads": 1},
        "seconds": seconds,
        "stages": [_stage(one, [trial for trial in trials if trial["case"] == one.case.name]) for one in references],
        "moments": dict(sorted(Counter(one["point"]["how"] for one in _killed(trials)).items())),
        "failures": [
            {name: trial[name] for name in ("number", "case", "faults")}
            | {"points": [one["point"] for one in trial["attempts"] if one["point"]]}
            for trial in trials
            if trial["faults"]
        ],
    }


def _killed(trials: Sequence[Json]) -> list[Json]:
    return [attempt for trial in trials for attempt in trial["attempts"] if attempt["killed"]]


def _stage(reference: Reference, trials: Sequence[Json]) -> Json:
    """What is counted of a stage."""
    measured = reference.measured
    pairs = [pair for trial in trials for pair in pairwise(trial["attempts"]) if pair[0]["killed"]]
    found = Counter(_found(before, after, reference.case.trains) for before, after in pairs)
    return {
        "name": reference.case.name,
        "kind": reference.case.kind,
        "seconds": measured.seconds,
        "calls": measured.calls,
        "checkpoints": measured.steps,
        "results": measured.results,
        "trials": len(trials),
        "kills": len(pairs),
        **{name: found[name] for name in ("went_on", "from_start", "was_done")},
        "same": sum(not trial["faults"] for trial in trials),
    }


def _found(before: Json, after: Json, trains: bool) -> str:
    """What the run after a kill found: the artifact, something to go on with, or nothing."""
    if after["code"] == 0 and not after["last_call"]:
        return "was_done"
    return "went_on" if before["left"]["step" if trains else "results"] else "from_start"


def main(arguments: Sequence[str] | None = None) -> int:
    """Soaks, prints and writes; 1 if a trial failed."""
    given = parse(arguments)
    if given.work is not None:
        given.work.mkdir(parents=True, exist_ok=True)
        found = Soak(given, given.work.absolute()).run()
    else:
        with tempfile.TemporaryDirectory(prefix="soak") as folder:
            found = Soak(given, Path(folder)).run()
    write(found, given.out)
    kills, failures = sum(stage["kills"] for stage in found["stages"]), len(found["failures"])
    _say(f"{kills} kills, {failures} trials failed")
    return 1 if failures else 0


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))  # so that jobs and mounts are ended, too
    sys.exit(main())
