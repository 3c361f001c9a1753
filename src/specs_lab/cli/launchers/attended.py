"""A job elsewhere: a function that a cluster's library calls on some machine runs the job's command line and waits.

The job's folder is where the sweep sees it, on a disk that all machines share: ``job.log``, and ``events.jsonl``, the
progress that the job reports (see :mod:`specs_lab.cli.events`), after a line ``{"event": "attempt"}`` for each start.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from specs_lab.cli.children import GRACE_S, LOG_NAME, Command
from specs_lab.cli.events import EVENTS_FD_VARIABLE
from specs_lab.cli.orphans import birth_of, parent_environment
from specs_lab.core.progress import Event

EVENTS_NAME = "events.jsonl"
ATTEMPT = "attempt"
_POLL_S = 0.5
_SENT_BY_CLUSTERS = frozenset({signal.SIGUSR1, signal.SIGUSR2})


@dataclass(frozen=True)
class Sweep:
    """The process of a sweep, for jobs on its own machine that are to end when it has gone.

    Attributes:
        pid: Its number.
        birth: See :func:`specs_lab.cli.orphans.birth_of`.
        host: Its machine.
    """

    pid: int = field(default_factory=os.getpid)
    birth: str = field(default_factory=lambda: birth_of(os.getpid()))
    host: str = field(default_factory=socket.gethostname)

    def has_gone(self) -> bool:
        """Whether it is known to run no more; never on another machine."""
        return socket.gethostname() == self.host and birth_of(self.pid) != self.birth


@dataclass(frozen=True, kw_only=True)
class Task:
    """What is to be run; travels to another machine.

    Attributes:
        arguments: The command line.
        folder: The job's, as all machines see it.
        place: The folder to run in.
        environment: Variables to set, beside those that are there.
        grace_s: How long the job may take to end when asked, in seconds.
        sweep: Whose end is the job's end as well; None: it goes on without.
    """

    arguments: tuple[str, ...]
    folder: Path
    place: Path
    environment: Mapping[str, str]
    grace_s: float = GRACE_S
    sweep: Sweep | None = None

    @classmethod
    def of(cls, command: Command, grace_s: float, sweep: Sweep | None = None) -> Task:
        """The task of a job."""
        return cls(
            arguments=tuple(command.arguments),
            folder=command.folder,
            place=Path.cwd(),
            environment=dict(command.environment),
            grace_s=grace_s,
            sweep=sweep,
        )


class Attendant:
    """Runs a task's command line and stays until its end.

    Args:
        task: The task.
        rank: Which of the job's processes this is; the first alone reports progress and writes ``job.log``.
        environment: Further variables to set.
    """

    def __init__(self, task: Task, rank: int = 0, environment: Mapping[str, str] | None = None) -> None:
        self._task = task
        self._asked = False
        task.folder.mkdir(parents=True, exist_ok=True)
        name = LOG_NAME if rank == 0 else LOG_NAME.replace(".", f".rank{rank}.")
        events = task.folder / EVENTS_NAME if rank == 0 else Path(os.devnull)
        with (task.folder / name).open("ab") as log, events.open("ab") as told:
            told.write(f"\n{json.dumps({'event': ATTEMPT})}\n".encode())  # what was killed may have left half a line
            told.flush()
            own = {EVENTS_FD_VARIABLE: str(told.fileno()), **parent_environment(task.grace_s)}
            with _kept_from_children(_SENT_BY_CLUSTERS):
                self._process = subprocess.Popen(
                    task.arguments,
                    cwd=task.place,
                    env={**os.environ, **task.environment, **(environment or {}), **own},
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    pass_fds=[told.fileno()],
                    start_new_session=True,
                )

    def wait(self) -> int:
        """The job's exit code once it has ended; whatever ends this early ends the job."""
        try:
            while True:
                try:
                    return self._process.wait(_POLL_S)
                except subprocess.TimeoutExpired:
                    if self._task.sweep is not None and self._task.sweep.has_gone():
                        return self.stop()
        finally:
            self.stop()

    def ask(self) -> None:
        """Asks the job to end as soon as it can: once, since a second time would mean at once."""
        if not self._asked and self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGTERM)
        self._asked = True

    def was_asked(self) -> None:
        """Notes that the job has been asked by somebody else."""
        self._asked = True

    def stop(self) -> int:
        """Asks the job to end, insists after its time, and returns its exit code."""
        try:
            self.ask()
            return self._process.wait(self._task.grace_s)
        except subprocess.TimeoutExpired:
            return self._kill()
        except BaseException:  # e.g. interrupted once more
            self._kill()
            raise

    def _kill(self) -> int:
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
        return self._process.wait()


@contextmanager
def _kept_from_children(numbers: frozenset[signal.Signals]) -> Iterator[None]:
    """Processes started within never get some signals, by which clusters speak to the attendant, not to the job."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class EventTail:
    """Reads what is appended to a file of events; opens it each time, as other machines write to it.

    Args:
        path: The file; need not be there yet.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._place = 0
        self._rest = b""

    def read(self) -> Iterator[Event]:
        """The events since the last call; a line that is not complete yet waits."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._place)
                chunk = file.read()
        except FileNotFoundError:
            return
        self._place += len(chunk)
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        for line in filter(None, lines):
            try:
                yield json.loads(line)
            except ValueError:  # half a line, of a process that was killed
                continue
