"""Room for jobs on one machine: how much memory they need and take, and which GPUs are theirs."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from specs_lab.preflight.device import main_memory

_PROC = Path("/proc")


@dataclass(frozen=True, kw_only=True)
class Needs:
    """What a job takes of a machine.

    Attributes:
        memory: Main memory in bytes; 0 if nobody can tell.
        on_gpu: Whether it computes on GPUs.
        processes: Processes on each machine, each with a GPU of its own if on GPUs.
        nodes: Machines.
        threads: CPU threads of each process.
    """

    memory: int = 0
    on_gpu: bool = False
    processes: int = 1
    nodes: int = 1
    threads: int = 1

    @property
    def gpus(self) -> int:
        """GPUs on each machine."""
        return self.processes if self.on_gpu else 0


class Room:
    """What a machine has for jobs.

    A job has room if what the running ones need, and it itself, is within the memory; what a running job needs is
    what was estimated, or what it has taken if that is more. Without running jobs there always is.

    Args:
        memory: Bytes for all jobs; None: what is free, or taken by them.
        limited: Whether memory counts at all.
        gpus: The GPUs to share out; fewer than two are not.
    """

    def __init__(self, memory: int | None = None, *, limited: bool = True, gpus: Sequence[str] = ()) -> None:
        self._memory = memory
        self._limited = limited
        self._gpus = list(gpus) if len(gpus) > 1 else []
        self._shares_gpus = bool(self._gpus)

    def has(self, needs: Needs, running: Mapping[int, Needs]) -> bool:
        """Whether a job may be started.

        Args:
            needs: What it needs.
            running: What the running jobs need, by the ids of their first processes.
        """
        if not running:
            return True
        if self._shares_gpus and needs.gpus > len(self._gpus):
            return False
        if not self._limited:
            return True
        taken = {pid: resident(pid) for pid in running}
        total = self._memory
        if total is None:
            there = main_memory()
            if there is None:
                return True
            total = there.free + sum(taken.values())
        return sum(max(taken[pid], other.memory) for pid, other in running.items()) + needs.memory <= total

    def take_gpus(self, needs: Needs) -> list[str]:
        """GPUs for a job that has room, until they are given back; none if there is nothing to share out."""
        if not self._shares_gpus:
            return []
        taken, self._gpus = self._gpus[: needs.gpus], self._gpus[needs.gpus :]
        return taken

    def give_back(self, gpus: Iterable[str]) -> None:
        """Takes a job's GPUs back."""
        self._gpus += gpus


def resident(pid: int) -> int:
    """Bytes of memory that a process, its session and all that they have started take; 0 where nobody says.

    Pages that processes share count for each of them.
    """
    parents: dict[int, int] = {}
    pages: dict[int, int] = {}
    members = {pid}
    for folder in _PROC.glob("[0-9]*"):
        try:
            stat = (folder / "stat").read_text(encoding="utf-8", errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has ended since
        fields = stat.rpartition(")")[2].split()  # the name before may hold anything
        one = int(folder.name)
        parents[one], pages[one] = int(fields[1]), int(fields[21])
        if int(fields[3]) == pid:
            members.add(one)
    for one in parents:
        line = [one]
        while line[-1] in parents and line[-1] not in members:
            line.append(parents[line[-1]])
        if line[-1] in members:
            members.update(line)
    return sum(pages.get(one, 0) for one in members) * os.sysconf("SC_PAGE_SIZE")


def visible_gpus() -> list[str]:
    """The GPUs that this process may use, as ``CUDA_VISIBLE_DEVICES`` names them."""
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is not None:
        return [name.strip() for name in chosen.split(",") if name.strip()]
    import torch  # only a sweep on GPUs waits for it

    return [str(index) for index in range(torch.cuda.device_count())]


def available_cores() -> int:
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
