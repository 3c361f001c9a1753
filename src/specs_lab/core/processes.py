"""Which process one is, among all machines, and whether another one still lives."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Process:
    """A process, as others can recognise it.

    Attributes:
        host: The machine's name, for people.
        machine: The machine's id (``/etc/machine-id``), "" if it has none.
        boot: The id of the machine's latest start, "" if the system has none (no Linux).
        namespace: The space that process ids are counted in, e.g. of a container; 0 if unknown.
        pid: The process id.
        start: When it started, in the system's ticks since the machine did; "" if unknown. No clock is involved.
    """

    host: str
    machine: str
    boot: str
    namespace: int
    pid: int
    start: str

    @classmethod
    def this(cls) -> Process:
        """The process that asks."""
        try:
            namespace = Path("/proc/self/ns/pid").stat().st_ino
        except OSError:
            namespace = 0
        return cls(
            host=os.uname().nodename,
            machine=_line("/etc/machine-id"),
            boot=_line("/proc/sys/kernel/random/boot_id"),
            namespace=namespace,
            pid=os.getpid(),
            start=_start(os.getpid()) or "",
        )

    def is_gone(self) -> bool:
        """Whether it is certain to have ended; False where that cannot be told, as on another machine."""
        this = Process.this()
        if not (self.boot and this.boot):
            return False
        if self.boot != this.boot:  # perhaps another machine; if not, it was started again since
            return (self.host, self.machine) == (this.host, this.machine) and self.machine != ""
        if self.namespace != this.namespace or not (self.namespace and self.start):
            return False
        start = _start(self.pid)
        return start is not None and start != self.start


def _start(pid: int) -> str | None:
    """When a process started; "" if there is none by that id, or it has ended; None if it cannot be told."""
    try:
        # "pid (name) state ppid ...": the name may hold anything, the start is the 22nd field.
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        return "" if fields[0] in "ZX" else fields[19]
    except OSError:
        pass
    try:
        os.kill(pid, 0)  # /proc may hide the processes of others
    except ProcessLookupError:
        return ""
    except PermissionError:
        return None
    return None


def _line(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except OSError:
        return ""
