"""Moments to kill a stage at, and doing it."""

from __future__ import annotations

import json
import random
import re
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.soak_launch import Job

_STARTED, _CALLS = "started", "calls"
_LOOK_SECONDS = 0.002
_HANG_SECONDS = 300.0
_WENT_ON = re.compile(r"goes on (?:at|after) step (\d+)")
_CHECKPOINT = re.compile(r"os.mkdir \S+/\.work/\S*\.step-(\d+)$", re.MULTILINE)
_RESULT = re.compile(r"open \S+/\.work/[^./\s][^/\s]*$", re.MULTILINE)
_WEIGHTS = {"time": 4, "event": 2, "call": 4, "checkpoint": 3, "publish": 1}


@dataclass(frozen=True)
class Point:
    """A moment inside a stage.

    Attributes:
        how: What is counted: ``time``, the share of the stage's seconds; ``event``, units of progress; ``call``,
            changes to files of the draft, the kill coming just before the next; ``publish``, the same, counted from
            the last one; ``checkpoint``, checkpoints that have begun to be written.
        at: The count.
        delay_s: Seconds to wait after that.
    """

    how: str
    at: float
    delay_s: float = 0.0


@dataclass(frozen=True)
class Measured:
    """What an uninterrupted stage takes.

    Attributes:
        key: The stage's key.
        seconds: From its first change to a file to the end of its process.
        calls: Changes to files of its draft.
        advances: Reports of progress.
        steps: Checkpoints.
        results: Results in its journals.
    """

    key: str
    seconds: float
    calls: int
    advances: int
    steps: int
    results: int


@dataclass
class Left:
    """What there is of a stage that was killed.

    Attributes:
        step: Of the newest whole checkpoint.
        results: Whole lines of journals.
        complete: Whether only its publication was missing.
    """

    step: int = 0
    results: int = 0
    complete: bool = False


@dataclass
class Attempt:
    """One start of the command.

    Attributes:
        point: When it was to be killed; None for the one that runs to the end.
        code: Its exit code.
        killed: Whether it was killed at that point; it may have ended before.
        after_s: Seconds into the stage.
        last_call: The last change to a file before it ended.
        left: What was there when it had ended.
        advances: Reports of progress.
        went_on: The step that it said it goes on after.
        first_step: The first checkpoint that it wrote, 0 if none.
        results: Results that it added to journals.
        messages: What it said.
    """

    point: Point | None
    code: int = 0
    killed: bool = False
    after_s: float = 0.0
    last_call: str = ""
    left: Left = field(default_factory=Left)
    advances: int = 0
    went_on: int = 0
    first_step: int = 0
    results: int = 0
    messages: list[str] = field(default_factory=list)


def draw(rng: random.Random, measured: Measured, count: int) -> list[Point]:
    """Kills of one trial, drawn at random."""
    return [_point(rng, measured, left=0.7**number) for number in range(count)]


def _point(rng: random.Random, measured: Measured, left: float) -> Point:
    counts = {"checkpoint": measured.steps, "event": measured.advances}
    ways = [how for how in _WEIGHTS if counts.get(how, 1)]
    how = rng.choices(ways, [_WEIGHTS[way] for way in ways])[0]
    match how:
        case "time":
            return Point(how, round(rng.uniform(0, left), 4))
        case "event":
            return Point(how, rng.randint(1, max(1, round(measured.advances * left))), round(rng.uniform(0, 0.05), 4))
        case "call":
            return Point(how, rng.randint(1, max(1, round(measured.calls * left))))
        case "publish":
            return Point(how, rng.randint(0, min(30, measured.calls - 1)))
        case _:
            return Point(how, rng.randint(1, max(1, round(measured.steps * left))), round(rng.expovariate(100), 4))


def environment(point: Point | None, measured: Measured | None, drafts: Path, notes: Path) -> dict[str, str]:
    """What a process needs to know to note what it does, and to be killed by its own hand.

    Args:
        point: When it is to be killed.
        measured: What the stage takes; None if that is not known yet.
        drafts: The store's folder of drafts.
        notes: An empty folder for the notes.
    """
    told = {"SOAK_DRAFT": f"{drafts}/", "SOAK_STARTED": str(notes / _STARTED), "SOAK_CALLS": str(notes / _CALLS)}
    if point is None or measured is None or point.how not in ("call", "publish"):
        return told
    at = point.at if point.how == "call" else measured.calls - point.at
    return {**told, "SOAK_KILL_AT": str(int(at))}


def carry_out(job: Job, point: Point | None, measured: Measured | None, drafts: Path, notes: Path) -> Attempt:
    """Watches a job, kills it when its moment has come, and waits for its end.

    Raises:
        TimeoutError: If it does neither end nor come to that moment.
    """
    seen: set[str] = set()
    deadline = time.monotonic() + _HANG_SECONDS
    begun: float | None = None
    while job.poll() is None:
        job.look()
        begun = begun or _read_time(notes / _STARTED)
        if begun is not None and _is_reached(point, job, measured, begun, drafts, seen):
            time.sleep(point.delay_s if point else 0)
            job.kill()
            break
        if time.monotonic() > deadline:
            job.close()
            raise TimeoutError(f"nothing happens any more: {job.log}")
        time.sleep(_LOOK_SECONDS)
    code = job.wait()
    ended = time.monotonic()
    job.close()
    calls = _read(notes / _CALLS)
    steps = {int(step) for step in _CHECKPOINT.findall(calls)}
    return Attempt(
        point=point,
        code=code,
        killed=code == -signal.SIGKILL,
        after_s=round(ended - (_read_time(notes / _STARTED) or ended), 3),
        last_call=calls.splitlines()[-1].replace(f"{drafts}/", "") if calls else "",
        left=left_in(drafts),
        advances=job.advances,
        went_on=went_on(job.messages),
        first_step=min(steps, default=0),
        results=len(_RESULT.findall(calls)),
        messages=job.messages,
    )


def measure(attempt: Attempt, key: str, notes: Path) -> Measured:
    """What an uninterrupted attempt took."""
    calls = _read(notes / _CALLS)
    return Measured(
        key=key,
        seconds=attempt.after_s,
        calls=calls.count("\n"),
        advances=attempt.advances,
        steps=len(set(_CHECKPOINT.findall(calls))),
        results=attempt.results,
    )


def _is_reached(
    point: Point | None, job: Job, measured: Measured | None, begun: float, drafts: Path, seen: set[str]
) -> bool:
    if point is None or measured is None:
        return False
    match point.how:
        case "time":
            return time.monotonic() - begun >= point.at * measured.seconds
        case "event":
            return job.advances >= point.at
        case "checkpoint":
            seen |= {path.name for path in drafts.glob("*/.work/checkpoints/.step-*")}
            return len(seen) >= point.at
        case _:
            return False  # by its own hand


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""


def _read_time(path: Path) -> float | None:
    text = _read(path)
    return float(text) if text.endswith("\n") else None


def left_in(drafts: Path) -> Left:
    """What drafts hold that another run can go on with."""
    steps = [int(path.parent.name.removeprefix("step-")) for path in drafts.glob("*/.work/**/step-*/checksums.json")]
    journals = [path for path in drafts.glob("*/.work/*") if path.is_file()]
    results = sum(path.read_bytes().count(b"\n") for path in journals)
    kinds = [json.loads(path.read_text())["kind"] for path in drafts.glob("*/manifest.json")]
    # The log-probabilities of a reference are made on the way to a cold start.
    return Left(max(steps, default=0), results, any(kind != "reference" for kind in kinds))


def went_on(messages: Sequence[str]) -> int:
    """The step that a run said it goes on after; 0 if it began at the beginning."""
    found = [match for text in messages for match in _WENT_ON.finditer(text)]
    return max((int(match[1]) for match in found), default=0)
