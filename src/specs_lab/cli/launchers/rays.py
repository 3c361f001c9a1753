"""Hydra launcher `ray`: jobs as tasks of a Ray cluster, or of one that is started on this machine."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from specs_lab.cli.children import GRACE_S, Command, Outcome, Watcher
from specs_lab.cli.exits import EXIT_FAILED
from specs_lab.cli.launchers.attended import Attendant, Task
from specs_lab.cli.launchers.base import SweepLauncher, plain
from specs_lab.cli.launchers.elsewhere import POLL_S, Elsewhere, follow_all, forget_events
from specs_lab.cli.room import Needs, available_cores
from specs_lab.core.errors import Fault, UserError, raise_faults

_CARRIED = ("SPECS_LAB_CACHE", "HF_HOME", "HF_HUB_OFFLINE", "WANDB_MODE", "WANDB_DIR", "WANDB_PROJECT", "WANDB_ENTITY")
"""Variables of the sweep that its jobs get as well. Secrets are not among them: a cluster's machines have their own."""


@dataclass
class RayLauncherConfig:
    """Settings of `ray`.

    Attributes:
        address: The cluster's, e.g. ``auto`` or ``ray://host:10001``; None: one is started here, for the sweep alone.
        num_cpus: CPU cores of a job; None: ``trainer.threads`` for each process.
        num_gpus: GPUs of a job; None: ``trainer.devices`` on GPUs.
        memory_gb: Main memory of a job, in GB; None: as the preflight estimates it.
        max_retries: How often a job is started again whose machine or worker was lost; it goes on from its checkpoint.
        init: More arguments of ``ray.init``.
        grace_s: How long jobs that are to end may take to write a checkpoint, in seconds.
        poll_s: Time between two looks at the jobs, in seconds.
    """

    _target_: str = "hydra_plugins.specs_lab.RayLauncher"
    address: str | None = None
    num_cpus: float | None = None
    num_gpus: float | None = None
    memory_gb: float | None = None
    max_retries: int = 3
    init: dict[str, Any] = field(default_factory=dict)
    grace_s: float = GRACE_S
    poll_s: float = POLL_S


class RayLauncher(SweepLauncher):
    """Hands jobs to Ray; how many run at a time follows from what each takes.

    Args:
        **settings: See :class:`RayLauncherConfig`.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__()
        self._settings: dict[str, Any] = {name: plain(value) for name, value in settings.items()}

    def threads(self, needs: Sequence[Needs]) -> list[int]:
        """A job's cores, divided among its processes."""
        return [max(1, int(self._cores(job)) // job.processes) for job in needs]

    def run(self, commands: Sequence[Command], watcher: Watcher) -> list[Outcome]:
        """Runs the jobs.

        Raises:
            UserError: If Ray is not there, or jobs are to run on several machines each.
        """
        if any(command.needs.nodes > 1 for command in commands):
            fix = "choose hydra/launcher=submitit_slurm"
            raise UserError([Fault("trainer.nodes", "a task of Ray is on one machine", fix)])
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        try:
            import ray  # pyright: ignore[reportMissingImports] # an extra
        except ImportError as error:
            fix = "pip install 'specs_lab[ray]'"
            raise UserError([Fault("hydra/launcher", "needs the package ray, which is missing", fix)]) from error
        self._begin(ray)
        settings = self._settings
        try:
            resources = [self._resources(command.needs) for command in commands]
            if settings["address"] is None:
                resources = _within(ray.cluster_resources(), resources)
            forget_events(commands)
            remote = ray.remote(attend)
            carried = {name: os.environ[name] for name in _CARRIED if name in os.environ}
            refs = [
                remote.options(name=command.name, max_retries=settings["max_retries"], **taken).remote(
                    Task.of(_with(command, carried), settings["grace_s"])
                )
                for command, taken in zip(commands, resources, strict=True)
            ]
            return follow_all(
                commands,
                watcher,
                lambda index: _RayJob(ray, refs[index]),
                at_a_time=len(commands),
                grace_s=settings["grace_s"],
                poll_s=settings["poll_s"],
            )
        finally:
            ray.shutdown()

    def _begin(self, ray: Any) -> None:
        settings = self._settings
        own: dict[str, Any] = {"log_to_driver": False, "configure_logging": False}
        if settings["address"] is None:
            own |= {"num_cpus": available_cores(), "include_dashboard": False}
        try:
            ray.init(**{"address": settings["address"] or "local", **own, **settings["init"]})
        except (ConnectionError, ValueError) as error:
            fix = "give the address of a cluster that runs (`ray status` says), or leave it out to start one here"
            raise UserError([Fault("hydra.launcher.address", f"no cluster: {error}", fix)]) from error

    def _cores(self, needs: Needs) -> float:
        return self._settings["num_cpus"] or needs.threads * needs.processes

    def _resources(self, needs: Needs) -> dict[str, Any]:
        gpus, given = self._settings["num_gpus"], self._settings["memory_gb"]
        memory = needs.memory if given is None else round(given * 1e9)
        return {
            "num_cpus": self._cores(needs),
            "num_gpus": needs.gpus if gpus is None else gpus,
            **({"memory": memory} if memory else {}),
        }


def _within(there: Mapping[str, float], resources: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """What jobs take, no more than this machine has: Ray would wait for another one for ever.

    Estimates of memory are cut, as a job alone may always run.

    Raises:
        UserError: If a job wants more cores or GPUs than there are.
    """
    faults = []
    for name, kind in (("num_cpus", "CPU"), ("num_gpus", "GPU")):
        most, total = max(taken[name] for taken in resources), there.get(kind, 0)
        if most > total:
            fix = "ask for fewer (trainer.devices, trainer.threads), or give hydra.launcher.address of a cluster"
            faults.append(Fault(f"hydra.launcher.{name}", f"a job takes {most:g}, this machine has {total:g}", fix))
    raise_faults(faults)
    room = int(there.get("memory", 0))
    return [{**taken, **({"memory": min(taken["memory"], room)} if "memory" in taken else {})} for taken in resources]


def attend(task: Task) -> int:
    """What Ray calls on the machine that runs a job; its exit code."""
    return Attendant(task).wait()


def _with(command: Command, environment: dict[str, str]) -> Command:
    return Command(
        command.name, command.folder, command.arguments, {**environment, **command.environment}, command.needs
    )


class _RayJob(Elsewhere):
    """A task of Ray's."""

    def __init__(self, ray: Any, ref: Any) -> None:
        self._ray, self._ref = ray, ref
        self._code: int | None = None

    def state(self) -> str:
        """What is known without asking the cluster's database."""
        return "with Ray" if self._code is None else "done"

    def exit_code(self) -> int | None:
        """As the task returned it."""
        if self._code is None:
            done, _ = self._ray.wait([self._ref], timeout=0)
            if done:
                self._code = self._read()
        return self._code

    def _read(self) -> int:
        try:
            return int(self._ray.get(self._ref))
        except self._ray.exceptions.RayError as error:
            self.reason = f"Ray: {error}"
            return EXIT_FAILED

    def cancel(self) -> bool:
        """Interrupts the task, which has the job end."""
        self._ray.cancel(self._ref, force=False)
        return True

    def kill(self) -> None:
        """Ends the worker; the job notices that."""
        self._ray.cancel(self._ref, force=True)
