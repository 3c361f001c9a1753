"""Starting the real command, and what is known of a job while it runs."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from benchmarks.duel import ROOT
from specs_lab.cli.events import EVENTS_FD_VARIABLE, EventReader

SITE = Path(__file__).with_name("soak_site")
_HANG_SECONDS = 300
_ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    "MPLBACKEND": "Agg",
    "OMP_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "WANDB_MODE": "offline",
    "WANDB_SILENT": "true",
}


def snapshot(target: Path) -> Path:
    """Copies the package, so that what is written to the working tree meanwhile does not change the runs."""
    package = target / "specs_lab"
    if not package.exists():
        draft = target / "draft"
        shutil.rmtree(draft, ignore_errors=True)
        no_caches = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / "src" / "specs_lab", draft, ignore=no_caches)
        shutil.copytree(ROOT / "conf", draft / "conf", ignore=no_caches, dirs_exist_ok=True)
        draft.rename(package)
    return target


class Job(ABC):
    """A running command.

    Attributes:
        pid: Its process, the leader of a group of its own.
        log: What it prints.
        events: What it reports, if it was asked to.
        messages: Those of the events that are messages, and the last count of every task that was open.
    """

    def __init__(self, pid: int, log: Path, events: EventReader) -> None:
        self.pid, self.log, self.events = pid, log, events
        self.messages: list[str] = []
        self.done: dict[str, int] = {}
        self.advances = 0

    def look(self) -> None:
        """Reads the events that have come."""
        for event in self.events.read():
            if event["event"] == "message":
                self.messages.append(event["text"])
            elif event["event"] == "advance" and event["task"] != "stages":
                self.advances += 1
                self.done[event["task"]] = event["done"]

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Sends a signal to all its processes."""
        try:
            os.killpg(self.pid, number)
        except ProcessLookupError:  # it has just ended
            return

    @abstractmethod
    def poll(self) -> int | None:
        """Its exit code, negative for a signal, or None while it runs."""

    @abstractmethod
    def wait(self) -> int:
        """Waits for its end; its exit code."""

    def close(self) -> None:
        """Ends it if need be, and reads the rest."""
        if self.poll() is None:
            self.kill()
            self.wait()
        self.look()
        self.events.close()


class _Process(Job):
    def __init__(self, process: subprocess.Popen[bytes], log: Path, events: EventReader) -> None:
        super().__init__(process.pid, log, events)
        self._process = process

    def poll(self) -> int | None:
        return self._process.poll()

    def wait(self) -> int:
        return self._process.wait(_HANG_SECONDS)


class _Forked(Job):
    def __init__(self, connection: socket.socket, log: Path, events: EventReader) -> None:
        self._connection, self._text, self._code = connection, b"", None
        super().__init__(int(self._line()), log, events)

    def _line(self) -> str:
        self._connection.settimeout(_HANG_SECONDS)
        while b"\n" not in self._text:
            self._read()
        line, _, self._text = self._text.partition(b"\n")
        return line.decode()

    def _read(self) -> None:
        chunk = self._connection.recv(4096)
        if not chunk:
            raise RuntimeError("the zygote has ended")
        self._text += chunk

    def poll(self) -> int | None:
        if self._code is None and b"\n" not in self._text:
            self._connection.settimeout(0)
            try:
                self._read()
            except BlockingIOError:
                return None
        return self.wait() if self._code is not None or b"\n" in self._text else None

    def wait(self) -> int:
        if self._code is None:
            self._code = int(self._line())
            self._connection.close()
        return self._code


class Launcher(ABC):
    """Starts ``python -m specs_lab.run`` one way or another; a context manager.

    Args:
        site: Where the package is, see :func:`snapshot`.
    """

    def __init__(self, site: Path) -> None:
        self.site = site

    def __enter__(self) -> Launcher:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Ends what it has started beside the jobs."""
        return

    def start(
        self, argv: Sequence[str], folder: Path, cache: Path, more: dict[str, str] | None = None, events: bool = True
    ) -> Job:
        """Starts a job.

        Args:
            argv: Arguments of ``specs_lab.run``.
            folder: Its working folder, made if missing; ``log.txt`` is there.
            cache: The store of stages.
            more: More of the environment; an empty value takes a variable out of it.
            events: Whether it reports events; it then makes no report of its study.
        """
        folder.mkdir(parents=True, exist_ok=True)
        environment = {**os.environ, **_ENVIRONMENT, "SPECS_LAB_CACHE": str(cache), **(more or {})}
        environment["PYTHONPATH"] = os.pathsep.join((str(self.site), str(SITE)))
        environment = {name: value for name, value in environment.items() if value}
        reading, writing = os.pipe()
        if events:
            environment[EVENTS_FD_VARIABLE] = str(writing)
        log = folder / "log.txt"
        try:
            with log.open("ab") as output:
                return self._start(argv, folder, environment, output.fileno(), writing, log, EventReader(reading))
        finally:
            os.close(writing)

    @abstractmethod
    def _start(
        self,
        argv: Sequence[str],
        folder: Path,
        environment: dict[str, str],
        output: int,
        events: int,
        log: Path,
        reader: EventReader,
    ) -> Job: ...


class Processes(Launcher):
    """Every job is a new interpreter."""

    def _start(
        self,
        argv: Sequence[str],
        folder: Path,
        environment: dict[str, str],
        output: int,
        events: int,
        log: Path,
        reader: EventReader,
    ) -> Job:
        process = subprocess.Popen(
            [sys.executable, "-m", "specs_lab.run", *argv],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            pass_fds=(events,),
            start_new_session=True,
        )
        return _Process(process, log, reader)


class Zygotes(Launcher):
    """Jobs are forked by processes that have imported everything.

    There are two of these, with different seeds of ``hash``, which take turns: what depends on the order of a set would
    else agree by accident.
    """

    def __init__(self, site: Path) -> None:
        super().__init__(site)
        self._folder = tempfile.TemporaryDirectory(prefix="zygote")
        self._count = 0
        self._zygotes: list[subprocess.Popen[str]] = []

    def __enter__(self) -> Zygotes:
        path = os.pathsep.join((str(self.site), str(SITE)))
        for number in range(2):
            environment = {**os.environ, **_ENVIRONMENT, "PYTHONPATH": path, "PYTHONHASHSEED": str(number + 1)}
            command = [sys.executable, str(Path(__file__).with_name("soak_zygote.py")), self._socket(number)]
            self._zygotes.append(
                subprocess.Popen(
                    command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=self.site
                )
            )
        for zygote in self._zygotes:
            if zygote.stdout is None or zygote.stdout.readline() != "ready\n":
                raise RuntimeError("a zygote does not start; see above")
        return self

    def __exit__(self, *_: Any) -> None:
        for zygote in self._zygotes:
            if zygote.stdin is not None:
                zygote.stdin.close()
            zygote.wait(_HANG_SECONDS)
            if zygote.stdout is not None:
                zygote.stdout.close()
        self._folder.cleanup()

    def _socket(self, number: int) -> str:
        return f"{self._folder.name}/{number}"

    def _start(
        self,
        argv: Sequence[str],
        folder: Path,
        environment: dict[str, str],
        output: int,
        events: int,
        log: Path,
        reader: EventReader,
    ) -> Job:
        self._count += 1
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(self._socket(self._count % 2))
        text = json.dumps({"argv": list(argv), "cwd": str(folder), "env": environment}).encode() + b"\n"
        socket.send_fds(connection, [text], [output, events])
        return _Forked(connection, log, reader)
