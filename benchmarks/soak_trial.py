"""One trial of a soak: a stage, killed once or several times, then run to its end and compared."""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.soak_cases import Case
from benchmarks.soak_compare import artifacts, differences, leftovers
from benchmarks.soak_kill import Attempt, Measured, Point, carry_out, draw, environment, measure
from benchmarks.soak_launch import Launcher

TARGETS = ("target", "pretrain")
_MOST_KILLS = 3


class Unfit(RuntimeError):
    """A stage cannot be soaked: two uninterrupted runs of it fail or differ."""


@dataclass(frozen=True)
class Reference:
    """A stage that ran without interruption.

    Attributes:
        case: Which.
        folder: Has its ``store``, and its inputs alone in ``inputs``.
        measured: What it takes.
    """

    case: Case
    folder: Path
    measured: Measured

    @property
    def store(self) -> Path:
        """The store with everything."""
        return self.folder / "store"

    @property
    def inputs(self) -> Path:
        """The store without the stage."""
        return self.folder / "inputs"


@dataclass
class Trial:
    """How a trial went.

    Attributes:
        number: Its number in the soak.
        case: The stage's name.
        attempts: Each start of the command; the last one ran to the end.
        faults: What is not as it should be; empty if all is.
    """

    number: int
    case: str
    attempts: list[Attempt] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    @property
    def kills(self) -> int:
        """How often the stage was killed in its middle."""
        return sum(attempt.killed for attempt in self.attempts)

    def as_json(self) -> dict[str, Any]:
        """Plain data."""
        return {"kills": self.kills, **asdict(self)}


def make_reference(case: Case, launcher: Launcher, work: Path) -> Reference:
    """Runs a stage twice without interruption; the second run is measured, and has to be equal to the first.

    Raises:
        Unfit: If it fails, or is not.
    """
    folder = work / "references" / case.name
    shutil.rmtree(folder, ignore_errors=True)
    case.write(work / "conf")
    argv = case.argv(work / "conf")
    first = run(launcher, argv, folder / "first", folder / "store")
    _require(first.code == 0, f"{case.name} fails by itself", folder / "first")
    record = json.loads((folder / "first" / "out" / "job.json").read_text(encoding="utf-8"))
    key = next(record["stages"][name]["key"] for name in TARGETS if name in record["stages"])
    made = [f"{case.kind}/{key}", *(name for name in artifacts(folder / "store") if name.startswith("reference/"))]
    clone(folder / "store", folder / "inputs", without=made)
    clone(folder / "inputs", folder / "again")
    second = run(launcher, argv, folder / "second", folder / "again")
    _require(second.code == 0, f"{case.name} fails the second time", folder / "second")
    found = differences(folder / "again", folder / "store")
    _require(not found, f"two runs of {case.name} differ: {found}", folder / "second")
    shutil.rmtree(folder / "again")
    return Reference(case, folder, measure(second, key, folder / "second"))


def _require(holds: bool, what: str, folder: Path) -> None:
    if not holds:
        text = (folder / "log.txt").read_text(encoding="utf-8", errors="replace")
        raise Unfit(f"{what}\n{text[-3000:]}")


def run(
    launcher: Launcher,
    argv: Sequence[str],
    folder: Path,
    store: Path,
    point: Point | None = None,
    measured: Measured | None = None,
) -> Attempt:
    """Starts the command once, and kills it if a moment is given."""
    folder.mkdir(parents=True)
    job = launcher.start(argv, folder, store, environment(point, measured, store / "tmp", folder))
    return carry_out(job, point, measured, store / "tmp", folder)


def clone(store: Path, target: Path, without: Sequence[str] = ()) -> None:
    """A copy of a store's artifacts by hard links."""
    target.mkdir(parents=True)
    for name, folder in artifacts(store).items():
        if name not in without:
            shutil.copytree(folder, target / name, copy_function=os.link)


def points_of(reference: Reference, seed: int, number: int) -> list[Point]:
    """The kills of a trial, always the same for the same seed, number and stage."""
    rng = random.Random(f"{seed}/{number}/{reference.case.name}")
    count = rng.choices(range(1, _MOST_KILLS + 1), (3, 2, 1))[0]
    return draw(rng, reference.measured, count)


def carry_out_trial(
    launcher: Launcher,
    reference: Reference,
    points: Sequence[Point],
    number: int,
    work: Path,
    meanwhile: Callable[[Path], None] = lambda _: None,
) -> Trial:
    """Kills the stage at each point in turn, then lets it end, and compares; its folder stays if something is wrong.

    Args:
        launcher: Starts its command.
        reference: The stage.
        points: When to kill it.
        number: Names the trial.
        work: The soak's folder.
        meanwhile: Called with the store after each kill.
    """
    folder = work / "trials" / f"{number:04d}-{reference.case.name}"
    shutil.rmtree(folder, ignore_errors=True)
    store = folder / "store"
    clone(reference.inputs, store)
    argv = reference.case.argv(work / "conf")
    trial = Trial(number, reference.case.name)
    for place, point in enumerate([*points, None]):
        attempt = run(launcher, argv, folder / f"attempt{place}", store, point, reference.measured)
        trial.attempts.append(attempt)
        if not attempt.killed:
            break
        meanwhile(store)
    trial.faults = faults_of(trial, reference, store)
    if not trial.faults:
        shutil.rmtree(folder)
    return trial


def faults_of(trial: Trial, reference: Reference, store: Path) -> list[str]:
    """What of a finished trial is not as it should be."""
    last = trial.attempts[-1]
    if last.code:
        return [f"attempt {len(trial.attempts) - 1} ends with code {last.code}"]
    faults = differences(store, reference.store) + leftovers(store, reference.store)
    for number, (before, after) in enumerate(zip(trial.attempts, trial.attempts[1:], strict=False), start=1):
        # A run that was killed before it looked has not gone on either.
        looked = after.code == 0 or after.first_step or after.results
        if before.left.complete:
            if after.first_step or after.results:
                faults.append(f"attempt {number} makes anew what was complete")
        elif before.left.step and looked and after.went_on != before.left.step:
            faults.append(f"attempt {number} goes on after step {after.went_on}, not {before.left.step}")
        if after.first_step and after.first_step <= before.left.step:
            faults.append(f"attempt {number} repeats step {after.first_step}")
    # A call is noted before it is made: a result whose writing was killed is noted twice.
    made, wanted = sum(attempt.results for attempt in trial.attempts), reference.measured.results
    if not wanted <= made <= wanted + trial.kills:
        faults.append(f"{made} results were made, not {wanted}: some were lost, or made twice")
    return faults
