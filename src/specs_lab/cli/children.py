"""Running jobs as processes of their own, several side by side."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import time
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from specs_lab.cli.events import EVENTS_FD_VARIABLE, EventReader
from specs_lab.core.progress import Event

LOG_NAME = "job.log"
_POLL_S = 0.2
_GRACE_S = 10.0


@dataclass(frozen=True)
class Command:
    """A job to start.

    Attributes:
        name: The job's name, for people.
        folder: Where its log goes; made if missing.
        arguments: The command line.
        environment: Variables to set, beside those of this process.
    """

    name: str
    folder: Path
    arguments: Sequence[str]
    environment: Mapping[str, str]


@dataclass(frozen=True)
class Outcome:
    """How a job ended.

    Attributes:
        command: What was started.
        exit_code: Its exit code; negative if a signal ended it.
        seconds: How long it ran.
    """

    command: Command
    exit_code: int
    seconds: float

    def last_lines(self, count: int = 12) -> list[str]:
        """The end of the job's log."""
        text = (self.command.folder / LOG_NAME).read_text(encoding="utf-8", errors="replace")
        return text.rstrip().splitlines()[-count:]


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


class _Child:
    """A running job."""

    def __init__(self, command: Command) -> None:
        self.command = command
        self.started = time.monotonic()
        command.folder.mkdir(parents=True, exist_ok=True)
        read_end, write_end = os.pipe()
        try:
            with (command.folder / LOG_NAME).open("ab") as log:
                self.process = subprocess.Popen(
                    command.arguments,
                    env={**os.environ, **command.environment, EVENTS_FD_VARIABLE: str(write_end)},
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

    def signal(self, number: signal.Signals) -> None:
        """Sends a signal to the job and to what it has started."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, number)

    def outcome(self) -> Outcome:
        return Outcome(self.command, self.process.wait(), time.monotonic() - self.started)


def run_side_by_side(commands: Sequence[Command], n_jobs: int, watcher: Watcher) -> list[Outcome]:
    """Runs all commands, ``n_jobs`` at a time; one that fails does not stop the others.

    Whatever ends this function early (Ctrl-C, a signal turned into SystemExit) ends the running jobs as well.

    Returns:
        An outcome per command, in their order.
    """
    waiting = deque(enumerate(commands))
    running: dict[int, _Child] = {}
    outcomes: dict[int, Outcome] = {}
    with selectors.DefaultSelector() as selector:
        try:
            while waiting or running:
                while waiting and len(running) < n_jobs:
                    index, command = waiting.popleft()
                    running[index] = child = _Child(command)
                    selector.register(child.events.descriptor, selectors.EVENT_READ, child)
                    watcher.job_started(command.name)
                _forward(selector, watcher)
                for index in [index for index, child in running.items() if child.process.poll() is not None]:
                    outcomes[index] = _finish(running.pop(index), selector, watcher)
        finally:
            _end(running.values())
    return [outcomes[index] for index in range(len(commands))]


def _forward(selector: selectors.BaseSelector, watcher: Watcher) -> None:
    """Hands on what jobs have reported, waiting a moment for it."""
    if not selector.get_map():
        time.sleep(_POLL_S)
        return
    for key, _ in selector.select(timeout=_POLL_S):
        child: _Child = key.data
        for event in child.events.read():
            watcher.job_event(child.command.name, event)
        if child.events.ended:
            selector.unregister(key.fd)


def _finish(child: _Child, selector: selectors.BaseSelector, watcher: Watcher) -> Outcome:
    for event in child.events.read():
        watcher.job_event(child.command.name, event)
    if child.events.descriptor in selector.get_map():
        selector.unregister(child.events.descriptor)
    child.events.close()
    outcome = child.outcome()
    watcher.job_ended(child.command.name, outcome.exit_code == 0, outcome.seconds)
    return outcome


def _end(children: Collection[_Child]) -> None:
    """Ends jobs: asks first, so that they can tidy up, and insists after a while."""
    for child in children:
        child.signal(signal.SIGTERM)
    deadline = time.monotonic() + _GRACE_S
    for child in children:
        try:
            child.process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            child.signal(signal.SIGKILL)
            child.process.wait()
        child.events.close()
