"""Watching jobs that run elsewhere: their progress from their folders, their states from the cluster."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Collection, Sequence

from specs_lab.cli.children import LOG_NAME, Command, Outcome, Relay, Watcher
from specs_lab.cli.launchers.attended import ATTEMPT, EVENTS_NAME, EventTail

POLL_S = 1.0


class Elsewhere(ABC):
    """A job that a cluster has taken.

    Attributes:
        reason: Why it failed, where the cluster knows better than the job's own log.
    """

    reason = ""

    @abstractmethod
    def state(self) -> str:
        """What the cluster says of it, in a word."""

    @abstractmethod
    def exit_code(self) -> int | None:
        """Its exit code; None as long as it has not ended for good."""

    @abstractmethod
    def cancel(self) -> bool:
        """Asks for its end; whether that is worth waiting for."""

    @abstractmethod
    def kill(self) -> None:
        """Ends it, whatever it is doing."""


def forget_events(commands: Sequence[Command]) -> None:
    """Removes what jobs of a sweep before, into the same folders, have reported; to be called before any is started."""
    for command in commands:
        (command.folder / EVENTS_NAME).unlink(missing_ok=True)


def follow_all(
    commands: Sequence[Command],
    watcher: Watcher,
    start: Callable[[int], Elsewhere],
    *,
    at_a_time: int,
    grace_s: float,
    poll_s: float = POLL_S,
) -> list[Outcome]:
    """Follows jobs until the last has ended; cancels them if it is itself ended early.

    Args:
        commands: The jobs.
        watcher: Told how they are doing.
        start: Hands one of them, by its position, to the cluster.
        at_a_time: How many may be with the cluster.
        grace_s: How long cancelled jobs may take to end, in seconds.
        poll_s: Time between two looks, in seconds.

    Returns:
        An outcome per job, in their order.
    """
    waiting = deque(range(len(commands)))
    running: dict[int, _Followed] = {}
    outcomes: dict[int, Outcome] = {}
    try:
        while waiting or running:
            while waiting and len(running) < at_a_time:
                index = waiting.popleft()
                running[index] = _Followed(commands[index], start(index), watcher)
            for index, one in list(running.items()):
                outcome = one.follow()
                if outcome is not None:
                    outcomes[index] = outcome
                    del running[index]
            if running:
                time.sleep(poll_s)
    finally:
        _end([one.job for one in running.values()], grace_s, poll_s)
    return [outcomes[index] for index in range(len(commands))]


def _end(jobs: Collection[Elsewhere], grace_s: float, poll_s: float) -> None:
    asked = [job for job in jobs if job.cancel()]
    deadline = time.monotonic() + grace_s
    try:
        while any(job.exit_code() is None for job in asked) and time.monotonic() < deadline:
            time.sleep(poll_s)
    finally:
        for job in asked:
            if job.exit_code() is None:
                job.kill()


class _Followed:
    """A job elsewhere, as the sweep sees it."""

    def __init__(self, command: Command, job: Elsewhere, watcher: Watcher) -> None:
        self.job = job
        self._command, self._watcher = command, watcher
        self._relay = Relay(command.name, watcher)
        self._tail = EventTail(command.folder / EVENTS_NAME)
        self._starts = 0
        self._state = ""
        self._began = time.monotonic()
        watcher.job_started(command.name)

    def follow(self) -> Outcome | None:
        """Hands on what is new; its outcome once it has ended."""
        code = self.job.exit_code()  # asked before its last events are read
        self._read()
        state = self.job.state()
        if state != self._state:
            self._state = state
            self._relay.say(state)
        if code is None:
            return None
        if self.job.reason:
            self._command.folder.mkdir(parents=True, exist_ok=True)
            with (self._command.folder / LOG_NAME).open("a", encoding="utf-8") as log:
                log.write(f"\n{self.job.reason}\n")
        seconds = time.monotonic() - self._began
        self._watcher.job_ended(self._command.name, code == 0, seconds)
        return Outcome(self._command, code, seconds, starts=max(1, self._starts))

    def _read(self) -> None:
        for event in self._tail.read():
            if event["event"] != ATTEMPT:
                self._relay(event)
                continue
            self._starts += 1
            if self._starts > 1:
                self._relay.start_over()
                self._relay.say(f"goes on: start number {self._starts}")
