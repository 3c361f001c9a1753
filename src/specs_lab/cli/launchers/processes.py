"""Hydra launchers on this machine: `processes` runs jobs side by side, `basic` one after the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from specs_lab.cli.children import GRACE_S, Command, Outcome, Watcher, run_side_by_side
from specs_lab.cli.launchers.base import SweepLauncher
from specs_lab.cli.room import Needs, Room, available_cores, visible_gpus
from specs_lab.core.errors import Fault, UserError


@dataclass
class ProcessLauncherConfig:
    """Settings of `processes`.

    Attributes:
        n_jobs: Jobs at a time; None: as many as cores allow, of which one takes ``trainer.devices`` times
            ``trainer.threads``, or as GPUs allow.
        memory_gb: Main memory for all jobs together, in GB; None: what is free.
        job_memory_gb: Main memory that one job needs, in GB; None: as the preflight estimates it.
        grace_s: How long jobs that are to end may take to write a checkpoint, in seconds.
    """

    _target_: str = "hydra_plugins.specs_lab.ProcessLauncher"
    n_jobs: int | None = None
    memory_gb: float | None = None
    job_memory_gb: float | None = None
    grace_s: float = GRACE_S


@dataclass
class BasicLauncherConfig:
    """Settings of `basic`.

    Attributes:
        grace_s: As in :class:`ProcessLauncherConfig`.
    """

    _target_: str = "hydra_plugins.specs_lab.BasicLauncher"
    grace_s: float = GRACE_S


class ProcessLauncher(SweepLauncher):
    """Runs several jobs side by side, each in a process of its own, as cores, memory and GPUs allow.

    Args:
        n_jobs: See :class:`ProcessLauncherConfig`, as for the others.
        memory_gb: ...
        job_memory_gb: ...
        grace_s: ...
    """

    def __init__(
        self,
        n_jobs: int | None = None,
        memory_gb: float | None = None,
        job_memory_gb: float | None = None,
        grace_s: float = GRACE_S,
    ) -> None:
        super().__init__()
        self._n_jobs = n_jobs
        self._memory_gb, self._job_memory_gb = memory_gb, job_memory_gb
        self._grace_s = grace_s
        self._gpus: list[str] = []

    def threads(self, needs: Sequence[Needs]) -> list[int]:
        """The cores are divided among the processes that run side by side."""
        self._gpus = visible_gpus() if any(job.on_gpu for job in needs) else []
        self._at_a_time = min(self._n_jobs or self._default_jobs(needs), len(needs))
        cores = available_cores()
        return [max(1, cores // self._at_a_time // job.processes) for job in needs]

    def run(self, commands: Sequence[Command], watcher: Watcher) -> list[Outcome]:
        """Runs the jobs.

        Raises:
            UserError: If a job wants more GPUs or machines than there are.
        """
        most = max(command.needs.gpus for command in commands)
        if most > len(self._gpus):
            fix = f"choose trainer.devices={len(self._gpus)}, or a launcher of a cluster"
            raise UserError([Fault("trainer.devices", f"there are {len(self._gpus)} GPUs, not {most}", fix)])
        if any(command.needs.nodes > 1 for command in commands):
            fix = "choose hydra/launcher=submitit_slurm"
            raise UserError([Fault("trainer.nodes", "this launcher starts jobs on this machine only", fix)])
        if self._job_memory_gb is not None:
            memory = round(self._job_memory_gb * 1e9)
            commands = [replace(one, needs=replace(one.needs, memory=memory)) for one in commands]
        memory = None if self._memory_gb is None else round(self._memory_gb * 1e9)
        room = Room(memory, gpus=self._gpus)
        return run_side_by_side(commands, self._at_a_time, watcher, room, self._grace_s)

    def _default_jobs(self, needs: Sequence[Needs]) -> int:
        if not self._gpus:
            return max(1, available_cores() // max(job.processes * job.threads for job in needs))
        return max(1, len(self._gpus) // max(1, *(job.gpus for job in needs)))


class BasicLauncher(ProcessLauncher):
    """Runs one job after the other, each in a process of its own.

    Hydra's own launcher of this name runs all jobs in one process, where one job's state would reach the next.

    Args:
        grace_s: See :class:`BasicLauncherConfig`.
    """

    def __init__(self, grace_s: float = GRACE_S) -> None:
        super().__init__(n_jobs=1, grace_s=grace_s)
