"""One cell of the fault matrix: a stage in a store of its own, what is done to it, and what becomes of it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.soak_compare import artifacts, differences, leftovers
from benchmarks.soak_kill import Attempt, Point, carry_out, environment, left_in
from benchmarks.soak_launch import Job, Launcher
from benchmarks.soak_trial import Reference

_HANG_SECONDS = 300.0
_LOOK_SECONDS = 0.002
_TRAININGS = ("GRPO", "SFT", "DPO", "Hybrid")
_NOISE = re.compile(r"^(Loading weights|Writing model|Failed to load|\s*$|Traceback|\s+(File|\^|~))")
_RAISED = re.compile(r"^[\w.]*(Error|Exception)\b")
_ROOM = 128 << 20
_TRIES = 100


class CannotStage(RuntimeError):
    """This machine does not let the fault be made."""


@dataclass
class Outcome:
    """What a fault did to a stage.

    Attributes:
        fault: The fault's name.
        stage: The stage's name.
        code: How the hindered run ended; negative for a signal.
        said: The first line about it; the store is ``STORE``.
        repair: What was done before the same command was started again; empty if it need not be.
        again: What was done once more: nothing, or so many steps or results.
        same: Whether all ended bit-identical to the run without a fault.
        faults: What is not as it should be; empty if all is.
    """

    fault: str
    stage: str
    code: int = 0
    said: str = ""
    repair: str = ""
    again: str = ""
    same: bool = False
    faults: list[str] = field(default_factory=list)


class Scene:
    """A stage that is about to be hindered.

    Args:
        launcher: Starts its command.
        reference: The stage, as it is without a fault.
        folder: An empty folder for it.
        conf: Where its recipe is.
    """

    def __init__(self, launcher: Launcher, reference: Reference, folder: Path, conf: Path) -> None:
        self.reference, self.folder = reference, folder
        self.store = folder / "store"
        self.attempts: list[Attempt] = []
        self.repair = ""
        self.differs: str = ""
        self._launcher, self._conf = launcher, conf
        self._mounted = False

    @property
    def target(self) -> Path:
        """Where the stage's artifact is when it is done."""
        return self.store / self.reference.case.kind / self.reference.measured.key

    # -- the store ---------------------------------------------------------------------------------------------------

    def fill(self) -> None:
        """Puts the stage's inputs into the store, as copies: they may be damaged."""
        self.store.mkdir(parents=True, exist_ok=True)
        for name, folder in artifacts(self.reference.inputs).items():
            shutil.copytree(folder, self.store / name)

    def mount(self) -> None:
        """Makes the store a disk of its own, in memory.

        Raises:
            CannotStage: If this user may not.
        """
        self.store.mkdir(parents=True)
        self._mount("-t", "tmpfs", "-o", f"size={_ROOM}", "tmpfs", str(self.store))
        self._mounted = True

    def remount(self, options: str) -> None:
        """Changes the mount."""
        self._mount("-o", f"remount,{options}", str(self.store))

    def _mount(self, *arguments: str) -> None:
        done = subprocess.run(["mount", *arguments], capture_output=True, text=True, check=False)
        if done.returncode:
            raise CannotStage(done.stderr.strip())

    def close(self) -> None:
        """Takes the disk away again."""
        if self._mounted:
            subprocess.run(["umount", "--lazy", str(self.store)], check=True)
            self._mounted = False

    # -- runs --------------------------------------------------------------------------------------------------------

    def run(
        self,
        *,
        point: Point | None = None,
        more: dict[str, str] | None = None,
        options: Sequence[str] = (),
        when: Callable[[Job], bool] | None = None,
        then: Callable[[Job], None] | None = None,
    ) -> Attempt:
        """Starts the stage's command, and waits for its end.

        Args:
            point: When to kill it.
            more: More of its environment.
            options: More of its command line.
            when: Looked at all the time; once it is true ``then`` is called.
            then: What to do to it.
        """
        notes = self.folder / f"attempt{len(self.attempts)}"
        told = environment(point, self.reference.measured, self.store / "tmp", notes)
        argv = [*self.reference.case.argv(self._conf), *options]
        job = self._launcher.start(argv, notes, self.store, {**told, **(more or {})})
        if when is not None and then is not None:
            _wait_for(job, when)
            then(job)
        attempt = carry_out(job, point, self.reference.measured, self.store / "tmp", notes)
        self.attempts.append(attempt)
        return attempt

    def midway(self, job: Job) -> bool:
        """Whether a stage has something to go on from."""
        trained = [done for task, done in job.done.items() if task.rpartition(": ")[2] in _TRAININGS]
        left = left_in(self.store / "tmp")
        return left.step >= 2 or max(trained, default=0) >= 2 or (not self.reference.case.trains and left.results > 0)

    def damage(self, path: Path) -> None:
        """Turns over bits in the middle of a file; the file is then no other's by a hard link."""
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 0xFF
        path.unlink()
        path.write_bytes(content)

    # -- the end -----------------------------------------------------------------------------------------------------

    def outcome(self, fault: str) -> Outcome:
        """Starts the same command once more, if the last run did not end well, and compares."""
        first = self.attempts[-1] if self.attempts[-1].code == 0 else self.attempts[0]
        hindered = self._hindered()
        if self.attempts[-1].code:
            self.run()
        last = self.attempts[-1]
        outcome = Outcome(fault, self.reference.case.name, code=hindered.code, repair=self.repair, again=self._again())
        outcome.said = self._said(hindered) or self._said(first) or self._said(last)
        if last.code:
            outcome.faults = [f"started again, it ends with code {last.code}: {self._said(last)}"]
            return outcome
        found = differences(self.store, self.reference.store)
        outcome.same = not found
        rest = [one for one in leftovers(self.store, self.reference.store) if not one.startswith("broken/")]
        outcome.faults = rest if self.differs else found + rest
        return outcome

    def _hindered(self) -> Attempt:
        """The run that the fault met: the last that ended badly, or the last of all."""
        bad = [attempt for attempt in self.attempts if attempt.code]
        return bad[-1] if bad and self.attempts[-1].code != 0 else self.attempts[-1]

    def _again(self) -> str:
        if self.differs:
            return self.differs
        steps = sum(
            max(0, before.left.step - after.went_on)
            for before, after in zip(self.attempts, self.attempts[1:], strict=False)
            if before.left.step and (after.went_on or after.first_step)
        )
        if steps:
            return f"{steps} steps" if steps > 1 else "1 step"
        results = sum(attempt.results for attempt in self.attempts) - self.reference.measured.results
        if results <= 0:
            return "nothing"
        return f"{results} results" if results > 1 else "1 result"

    def _said(self, attempt: Attempt) -> str:
        """The line that tells of the fault: the last message, or what was printed."""
        number = self.attempts.index(attempt)
        lines = (self.folder / f"attempt{number}" / "log.txt").read_text(errors="replace").splitlines()
        printed = [line for line in lines if not _NOISE.match(line)]
        told = [one for one in attempt.messages if "made in" not in one and "found in the store" not in one]
        raised = [line for line in printed if _RAISED.match(line)]
        found = (raised[-1:] or printed[:2]) if attempt.code else told
        text = " ".join(" ".join(found).split()).replace(str(self.store), "STORE").replace(str(self.folder), "JOB")
        return re.sub(r"(?<=[-/])[0-9a-f]{8,}|(?<=127.0.0.1:)\d+|(?<=run )[0-9a-f]{16}", "…", text)


def _wait_for(job: Job, when: Callable[[Job], bool]) -> None:
    deadline = time.monotonic() + _HANG_SECONDS
    while job.poll() is None and time.monotonic() < deadline:
        job.look()
        if when(job):
            return
        time.sleep(_LOOK_SECONDS)


def checkpoints(store: Path) -> list[Path]:
    """The whole checkpoints of a stage in the making, oldest first."""
    return sorted(store.glob("tmp/*/.work/checkpoints/step-*"))


def journals(store: Path) -> list[Path]:
    """Its journals."""
    return [path for path in sorted(store.glob("tmp/*/.work/*")) if path.is_file() and not path.name.startswith(".")]


def fill_up(store: Path) -> Path:
    """Fills a disk to the last block; returns the file that does."""
    path = store / "filler"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        for _ in range(_TRIES):
            about, size = os.statvfs(store), os.fstat(descriptor).st_size
            if not about.f_bavail:
                break
            with suppress(OSError):  # somebody else was faster
                os.posix_fallocate(descriptor, size, about.f_bavail * about.f_frsize)
    finally:
        os.close(descriptor)
    return path
