"""Running jobs as processes of their own, several side by side."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import time
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from specs_lab.cli.events import EVENTS_FD_VARIABLE, EventReader
from specs_lab.cli.orphans import parent_environment
from specs_lab.cli.room import Needs, Room, resident
from specs_lab.core.progress import Event

LOG_NAME = "job.log"
GRACE_S = 30.0
_POLL_S = 0.2
_MEASURE_S = 1.0
_KILLED = -signal.SIGKILL


@dataclass(frozen=True)
class Command:
    """A job to start.

    Attributes:
        name: The job's name, for people.
        folder: Where its log goes; made if missing.
        arguments: The command line.
        environment: Variables to set, beside those of this process.
        needs: What it takes of a machine.
    """

    name: str
    folder: Path
    arguments: Sequence[str]
    environment: Mapping[str, str]
    needs: Needs = field(default_factory=Needs)


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One start of a job.

    Attributes:
        exit_code: As in :class:`Outcome`.
        seconds: How long it ran.
        memory: The most memory that it was seen to take, in bytes; None if nobody looked.
        gpus: The GPUs that were its own.
        alone: Whether nothing ran beside it, since an attempt before was killed.
    """

    exit_code: int
    seconds: float
    memory: int | None = None
    gpus: tuple[str, ...] = ()
    alone: bool = False


@dataclass(frozen=True)
class Outcome:
    """How a job ended.

    Attributes:
        command: What was started.
        exit_code: Its exit code; negative if a signal ended it.
        seconds: How long it ran, all attempts together.
        attempts: Its starts, as far as the launcher watched them.
        starts: How many there were.
    """

    command: Command
    exit_code: int
    seconds: float
    attempts: tuple[Attempt, ...] = ()
    starts: int = 1

    def last_lines(self, count: int = 12) -> list[str]:
        """The end of the job's log; empty if it never came to write one."""
        log = self.command.folder / LOG_NAME
        if not log.is_file():
            return []
        return log.read_text(encoding="utf-8", errors="replace").rstrip().splitlines()[-count:]


class Watcher(Protocol):
    """What is told how jobs are doing."""

    def job_started(self, name: str) -> None:
        """A job's process runs."""
        ...

    def job_event(self, name: str, event: Event) -> None:
        """A job reports progress."""
        ...

    def job_ended(self, name: str, completed: bool, seconds: float) -> None:
        """A job's process has ended."""
        ...


class Relay:
    """Hands the events of one job on, over several attempts.

    Args:
        name: The job's.
        watcher: Told of them.
    """

    def __init__(self, name: str, watcher: Watcher) -> None:
        self._name = name
        self._watcher = watcher
        self._open: list[str] = []

    def __call__(self, event: Event) -> None:
        """Hands an event on, unless it is of a task that is not open: an attempt that was given up may still speak."""
        if event["event"] == "start":
            self._open.append(event["task"])
        elif "task" in event and event["task"] not in self._open:
            return
        elif event["event"] == "end":
            self._open.remove(event["task"])
        self._watcher.job_event(self._name, event)

    def say(self, text: str) -> None:
        """Tells of something that the job itself does not know."""
        self._watcher.job_event(self._name, {"event": "message", "text": text})

    def start_over(self) -> None:
        """Ends the tasks that a killed process left open."""
        for task in reversed(self._open):
            self._watcher.job_event(self._name, {"event": "end", "task": task})
        self._open.clear()


@dataclass(frozen=True)
class _Waiting:
    """A job that is to be started, perhaps once more."""

    index: int
    command: Command
    relay: Relay
    attempts: tuple[Attempt, ...] = ()

    @property
    def alone(self) -> bool:
        return bool(self.attempts)


class _Child:
    """A running job."""

    def __init__(self, job: _Waiting, gpus: Sequence[str], grace_s: float) -> None:
        self.job = job
        self.gpus = tuple(gpus)
        self.started = self._measured = time.monotonic()
        self._memory: int | None = None
        command = job.command
        command.folder.mkdir(parents=True, exist_ok=True)
        own = {"CUDA_VISIBLE_DEVICES": ",".join(gpus)} if gpus else {}
        read_end, write_end = os.pipe()
        try:
            own |= {EVENTS_FD_VARIABLE: str(write_end), **parent_environment(grace_s)}
            with (command.folder / LOG_NAME).open("ab") as log:
                self.process = subprocess.Popen(
                    command.arguments,
                    env={**os.environ, **command.environment, **own},
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    pass_fds=[write_end],
                    start_new_session=True,  # Ctrl-C reaches the sweep only, which then ends its jobs in order
                )
        except BaseException:
            os.close(read_end)
            raise
        finally:
            os.close(write_end)
        self.events = EventReader(read_end)

    def forward(self) -> None:
        """Hands on what it has reported."""
        for event in self.events.read():
            self.job.relay(event)

    def measure(self) -> None:
        """Looks now and then how much memory it takes."""
        if time.monotonic() - self._measured >= _MEASURE_S:
            self._measured = time.monotonic()
            self._memory = max(self._memory or 0, resident(self.process.pid))

    def signal(self, number: signal.Signals) -> None:
        """Sends a signal to the job and to what it has started."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, number)

    def attempt(self) -> Attempt:
        """How it went; waits for its end."""
        code, seconds = self.process.wait(), time.monotonic() - self.started
        return Attempt(exit_code=code, seconds=seconds, memory=self._memory, gpus=self.gpus, alone=self.job.alone)


def run_side_by_side(
    commands: Sequence[Command],
    n_jobs: int,
    watcher: Watcher,
    room: Room | None = None,
    grace_s: float = GRACE_S,
) -> list[Outcome]:
    """Runs all commands, ``n_jobs`` at a time if there is room; one that fails does not stop the others.

    A job that SIGKILL ends, as the system does where memory runs out, is run once more when the others are done, with
    nothing beside it. Whatever ends this function early (Ctrl-C, a signal turned into SystemExit) ends the running
    jobs as well: by SIGTERM, and by SIGKILL after ``grace_s`` seconds or at a second Ctrl-C.

    Returns:
        An outcome per command, in their order.
    """
    with selectors.DefaultSelector() as selector:
        side_by_side = _SideBySide(commands, n_jobs, watcher, room or Room(limited=False), grace_s, selector)
        try:
            while side_by_side.step():
                pass
        finally:
            _end(side_by_side.running.values(), grace_s)
    return [side_by_side.outcomes[index] for index in range(len(commands))]


class _SideBySide:
    """The jobs of one call: who waits, who runs, who is done."""

    def __init__(
        self,
        commands: Sequence[Command],
        n_jobs: int,
        watcher: Watcher,
        room: Room,
        grace_s: float,
        selector: selectors.BaseSelector,
    ) -> None:
        self._waiting = deque(
            _Waiting(index, command, Relay(command.name, watcher)) for index, command in enumerate(commands)
        )
        self._n_jobs, self._watcher, self._room, self._grace_s = n_jobs, watcher, room, grace_s
        self._selector = selector
        self.running: dict[int, _Child] = {}
        self.outcomes: dict[int, Outcome] = {}

    def step(self) -> bool:
        """Starts what can be started, hears what is said, notes what has ended; False once all is done."""
        while self._waiting and self._has_room(self._waiting[0]):
            self._start(self._waiting.popleft())
        self._listen()
        for child in list(self.running.values()):
            if child.process.poll() is None:
                child.measure()
            else:
                self._finish(child)
        return bool(self._waiting or self.running)

    def _has_room(self, job: _Waiting) -> bool:
        if job.alone or any(child.job.alone for child in self.running.values()):
            return not self.running
        needs = {child.process.pid: child.job.command.needs for child in self.running.values()}
        return len(self.running) < self._n_jobs and self._room.has(job.command.needs, needs)

    def _start(self, job: _Waiting) -> None:
        child = _Child(job, self._room.take_gpus(job.command.needs), self._grace_s)
        self.running[job.index] = child
        self._selector.register(child.events.descriptor, selectors.EVENT_READ, child)
        if not job.alone:
            self._watcher.job_started(job.command.name)

    def _listen(self) -> None:
        """Hands on what jobs have reported, waiting a moment for it."""
        if not self._selector.get_map():
            time.sleep(_POLL_S)
            return
        for key, _ in self._selector.select(timeout=_POLL_S):
            child: _Child = key.data
            child.forward()
            if child.events.ended:
                self._selector.unregister(key.fd)

    def _finish(self, child: _Child) -> None:
        child.forward()
        if child.events.descriptor in self._selector.get_map():
            self._selector.unregister(child.events.descriptor)
        child.events.close()
        job = child.job
        del self.running[job.index]
        self._room.give_back(child.gpus)
        attempts = (*job.attempts, child.attempt())
        code, seconds = attempts[-1].exit_code, sum(one.seconds for one in attempts)
        if code == _KILLED and not job.alone:
            job.relay.start_over()
            job.relay.say("was killed, most likely as memory ran out; is run again, alone, after the others")
            self._waiting.append(replace(job, attempts=attempts))
            return
        self.outcomes[job.index] = Outcome(job.command, code, seconds, attempts, len(attempts))
        self._watcher.job_ended(job.command.name, code == 0, seconds)


def _end(children: Collection[_Child], grace_s: float) -> None:
    """Ends jobs: asks first, so that they can write checkpoints, and insists after a while."""
    try:
        for child in children:
            child.signal(signal.SIGTERM)
        deadline = time.monotonic() + grace_s
        while any(child.process.poll() is None for child in children) and time.monotonic() < deadline:
            for child in children:
                child.forward()  # who writes to a full pipe would not end
            time.sleep(_POLL_S)
    finally:
        for child in children:
            child.signal(signal.SIGKILL)
            child.process.wait()
            child.events.close()
