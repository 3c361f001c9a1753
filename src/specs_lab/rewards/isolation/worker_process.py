"""One worker process, as the pool sees it: its pipes, its deadline, its end.

Nothing in here blocks, but for the wait for a killed process: :meth:`Worker.step` moves what it can, and the pool waits
for several workers at once. Where the protocol is broken in any way, the worker is unusable and gets killed.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from typing import IO, Any, Literal, cast

Status = Literal["done", "timed out", "out of memory", "crashed"]

MAX_REPLY = 1 << 20
"""Bytes that a reply may have; a worker that writes more is taken for crashed."""

_CHUNK = 1 << 16
_REAP_LIMIT_S = 10.0
_ENVIRONMENT = {
    "CUDA_VISIBLE_DEVICES": "",
    "MALLOC_ARENA_MAX": "1",  # an arena for every thread would reserve address space, which is what is limited
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "PYTHONHASHSEED": "0",  # the order of sets leads sympy different ways: the same question, the same reply
}
_SLOW = frozenset(
    {
        "COVERAGE_PROCESS_START",
        "PYTHONDEBUG",
        "PYTHONDEVMODE",
        "PYTHONINSPECT",
        "PYTHONMALLOC",
        "PYTHONPROFILEIMPORTTIME",
        "PYTHONTRACEMALLOC",
        "PYTHONVERBOSE",
    }
)
"""Variables for examining a program, which would slow its workers down."""


@dataclass(frozen=True)
class Reply:
    """What came of a request.

    Attributes:
        status: ``done``, or why there is no result.
        value: What the handler returned if done; ``{"error": "Type: message"}`` if it raised (``crashed``); else None.
    """

    status: Status
    value: dict[str, Any] | None


@dataclass(frozen=True)
class WorkerSettings:
    """How the workers of a pool are run."""

    handler: str
    time_limit_s: float
    memory_limit_mb: int
    start_limit_s: float


class Worker:
    """A worker process; used by one caller at a time, but for :meth:`kill`.

    Attributes:
        ready: Whether it has imported the handler.
        item: The number of the request it works at, None if it works at none.
        usable: Whether it can be asked again.
        worn: Whether it should be replaced as it keeps much memory.
        items: How many requests it has replied to.
        deadline: When it must be ready or have replied, by the monotonic clock.
    """

    def __init__(self, settings: WorkerSettings) -> None:
        self._settings = settings
        # Above what a worker can have used when the parent kills it: it only matters once the parent is dead.
        cpu_limit_s = 2 * settings.time_limit_s + 2
        limits = (str(settings.memory_limit_mb), str(cpu_limit_s))
        if not sys.executable:
            raise RuntimeError("no worker can be started: where Python is installed is not known (sys.executable)")
        # -P: the folder that the program happens to run in is no place to import from.
        command = [sys.executable, "-P", "-m", "specs_lab.rewards.isolation.worker_main", settings.handler, *limits]
        environment = {name: value for name, value in os.environ.items() if name not in _SLOW} | _ENVIRONMENT
        pipe = subprocess.PIPE
        try:
            self._process = subprocess.Popen(
                command, bufsize=0, stdin=pipe, stdout=pipe, stderr=pipe, env=environment, start_new_session=True
            )
        except OSError as error:
            raise RuntimeError(f"no worker for '{settings.handler}' could be started: {error}") from error
        process = self._process
        self._streams = cast("tuple[IO[bytes], IO[bytes], IO[bytes]]", (process.stdin, process.stdout, process.stderr))
        self._requests, self._replies, self._errors = self._streams
        for stream in self._streams:
            os.set_blocking(stream.fileno(), False)
        self._killing = threading.Lock()
        self._unsent = memoryview(b"")
        self._received = bytearray()
        self.ready = False
        self.item: int | None = None
        self.usable = True
        self.worn = False
        self.items = 0
        self.deadline = time.monotonic() + settings.start_limit_s

    def send(self, item: int, request: bytes) -> None:
        """Begins a request; its time starts now. :meth:`step` does the rest."""
        self.item = item
        self._unsent = memoryview(request)
        self.deadline = time.monotonic() + self._settings.time_limit_s

    def events(self) -> dict[int, int]:
        """What :meth:`step` waits for: {file descriptor: events of ``select.poll``}."""
        events = {self._replies.fileno(): select.POLLIN}
        if self._unsent:
            events[self._requests.fileno()] = select.POLLOUT
        return events

    def stirs(self) -> bool:
        """Whether a worker that was asked nothing has died, or said something."""
        poll = select.poll()
        poll.register(self._replies.fileno(), select.POLLIN)
        return bool(poll.poll(0))

    def step(self) -> Reply | None:
        """Reads and writes what it can without blocking.

        Returns:
            The reply to the request once there is one; afterwards :attr:`usable` says whether to go on.

        Raises:
            RuntimeError: If the worker did not start; the message says why.
        """
        self._push()
        ended = self._pull()
        if not self.ready:
            self._start(ended)
            return None
        line, newline, rest = self._received.partition(b"\n")
        if newline and len(line) <= MAX_REPLY:
            self._received.clear()
            self.items += 1
            return self._read(line, complete=not (rest or self._unsent))
        if ended or len(self._received) > MAX_REPLY:
            self.usable = False
            return Reply("crashed", None)
        if time.monotonic() >= self.deadline:
            self.usable = False
            return Reply("timed out", None)
        return None

    def kill(self) -> None:
        """Kills the process and all it started, and waits for its end; any thread may call this, any number of times.

        Nothing is lost by it: an idle worker holds nothing that must be saved.
        """
        with self._killing:
            if self._process.returncode is not None:
                return
            # As long as it has not been waited for, its id belongs to no other process.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
            # A process inside a stuck system call dies when that returns; nobody should wait for it that long.
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_REAP_LIMIT_S)

    def end(self) -> None:
        """Kills the process and closes its pipes; for the caller that uses the worker."""
        self.usable = False
        self.kill()
        self._close()

    def forget(self) -> None:
        """Lets go of a worker that belongs to the process which this one was forked from."""
        self._process.returncode = 0  # so that nobody here waits for it, or warns of it
        self._close()

    def _close(self) -> None:
        for stream in self._streams:
            stream.close()

    def _push(self) -> None:
        """Writes as much of the request as the pipe takes."""
        while self._unsent:
            try:
                count = os.write(self._requests.fileno(), self._unsent[:_CHUNK])
            except BlockingIOError:
                return
            except BrokenPipeError:  # it died: what can be read says the rest
                count = len(self._unsent)
            self._unsent = self._unsent[count:]

    def _pull(self) -> bool:
        """Reads what there is, within the limit of a reply; True if the worker will say no more."""
        while len(self._received) <= MAX_REPLY:
            try:
                data = os.read(self._replies.fileno(), _CHUNK)
            except BlockingIOError:
                return False
            if not data:
                return True
            self._received += data
        return False

    def _start(self, ended: bool) -> None:
        """Looks for the worker's first words, past what the interpreter's set-up may have printed."""
        reason = None
        while b"\n" in self._received and not self.ready and reason is None:
            line, _, self._received = self._received.partition(b"\n")
            message = _parse(line)
            self.ready = message.get("ready") is True
            reason = message.get("failed")
        if self.ready:
            self._errors.close()
            return
        if reason is None and (ended or len(self._received) > MAX_REPLY):
            self.kill()
            reason = f"{_exit_text(self._process.returncode)}\n{self._error_text()}"
        elif reason is None and time.monotonic() >= self.deadline:
            reason = f"it was not ready after {self._settings.start_limit_s:g} s\n{self._error_text()}"
        if reason is not None:
            self.usable = False
            raise RuntimeError(f"a worker for '{self._settings.handler}' did not start: {str(reason).strip()}")

    def _error_text(self) -> str:
        """What was written to standard error before the worker took over; the end of it."""
        try:
            return os.read(self._errors.fileno(), _CHUNK).decode(errors="replace")[-4000:]
        except BlockingIOError:
            return ""

    def _read(self, line: bytearray, complete: bool) -> Reply:
        """Reads a reply; ``complete``: nothing came after it, and the request was taken as a whole."""
        message = _parse(line)
        status, value = message.get("status"), message.get("value")
        known = status in ("done", "crashed") and isinstance(value, dict)
        self.usable = known and complete
        self.worn = message.get("worn") is True
        if known:
            return Reply(cast(Status, status), value)
        return Reply("out of memory" if status == "out of memory" else "crashed", None)


def _parse(line: bytearray) -> dict[str, Any]:
    """The JSON object of a line; empty if it is none."""
    try:
        message = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return message if isinstance(message, dict) else {}


def _exit_text(code: int | None) -> str:
    """How a process ended, in words."""
    if code is None or code >= 0:
        return f"it ended with exit code {code}"
    return f"it was ended by signal {-code} ({signal.strsignal(-code)})"
