"""Hydra launchers through submitit: `submitit_slurm` hands jobs to SLURM, `submitit_local` runs them as SLURM would.

Choices and parameters are named as those of hydra-submitit-launcher. That one runs jobs within submitit's process and
moves Hydra's state there by pickles of it; here each job is a command line, as with every launcher of this package.
"""

from __future__ import annotations

import os
import signal
from abc import abstractmethod
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from specs_lab.cli.children import GRACE_S, Command, Outcome, Watcher
from specs_lab.cli.exits import EXIT_FAILED
from specs_lab.cli.launchers.attended import Sweep, Task
from specs_lab.cli.launchers.base import SweepLauncher, plain
from specs_lab.cli.launchers.elsewhere import POLL_S, Elsewhere, follow_all, forget_events
from specs_lab.cli.room import Needs, available_cores
from specs_lab.core.errors import Fault, UserError, raise_faults


@dataclass
class LocalQueueConfig:
    """Settings of `submitit_local`.

    Attributes:
        submitit_folder: Where submitit keeps its files; ``%j`` stands for the job's number.
        timeout_min: Longest time of a job, in minutes; it is asked to end before, and started again.
        cpus_per_task: CPU cores of each process; None: ``trainer.threads``.
        gpus_per_node: GPUs of each machine; None: ``trainer.devices`` on GPUs.
        tasks_per_node: Processes on each machine; None: ``trainer.devices``, which it must agree with.
        mem_gb: Main memory of each machine, in GB; None: the cluster's default.
        nodes: Machines; None: ``trainer.nodes``.
        name: What the jobs are called.
        stderr_to_stdout: Whether submitit writes one file for both.
        array_parallelism: Jobs at a time; None: on this machine as many as cores allow, elsewhere 256.
        max_num_timeout: How often a job that has used up its time is started again.
        signal_delay_s: How long before the end of its time a job is asked to end, in seconds.
        setup: Lines of shell to run before the job.
        grace_s: How long jobs that are to end may take to write a checkpoint, in seconds.
        poll_s: Time between two looks at the jobs, in seconds.
    """

    _target_: str = "hydra_plugins.specs_lab.SubmititLocalLauncher"
    submitit_folder: str = "${hydra.sweep.dir}/.submitit/%j"
    timeout_min: int = 60
    cpus_per_task: int | None = None
    gpus_per_node: int | None = None
    tasks_per_node: int | None = None
    mem_gb: float | None = None
    nodes: int | None = None
    name: str = "${hydra.job.name}"
    stderr_to_stdout: bool = False
    array_parallelism: int | None = None
    max_num_timeout: int = 3
    signal_delay_s: int = 120
    setup: list[str] | None = None
    grace_s: float = GRACE_S
    poll_s: float = POLL_S


@dataclass
class SlurmQueueConfig(LocalQueueConfig):
    """Settings of `submitit_slurm`; those without a word here are ``sbatch``'s own.

    Attributes:
        requeue: Whether SLURM may start a preempted job again; it goes on from its last checkpoint.
        additional_parameters: More of ``sbatch``'s options, e.g. ``{mail-type: BEGIN}``.
    """

    _target_: str = "hydra_plugins.specs_lab.SubmititSlurmLauncher"
    poll_s: float = 5.0
    partition: str | None = None
    qos: str | None = None
    comment: str | None = None
    constraint: str | None = None
    exclude: str | None = None
    gres: str | None = None
    cpus_per_gpu: int | None = None
    gpus_per_task: int | None = None
    mem_per_gpu: str | None = None
    mem_per_cpu: str | None = None
    account: str | None = None
    requeue: bool = True
    additional_parameters: dict[str, Any] = field(default_factory=dict)


_FIX_TASKS = "leave it out: it is trainer.devices by default"
_COMMON = ("timeout_min", "cpus_per_task", "gpus_per_node", "tasks_per_node", "mem_gb", "nodes", "name")
_SACCT_S = 30
"""Longest time between two questions to SLURM about its jobs, in seconds; results are seen at once."""
_OWN = (
    "stderr_to_stdout",
    "submitit_folder",
    "max_num_timeout",
    "requeue",
    "grace_s",
    "poll_s",
    "additional_parameters",
)


class SubmititLauncher(SweepLauncher):
    """Hands jobs to submitit.

    Args:
        **settings: See :class:`SlurmQueueConfig`.
    """

    cluster = ""

    def __init__(self, **settings: Any) -> None:
        super().__init__()
        self._settings: dict[str, Any] = {name: plain(value) for name, value in settings.items()}

    def threads(self, needs: Sequence[Needs]) -> list[int]:
        """As many as a process has cores."""
        return [self._settings["cpus_per_task"] or job.threads for job in needs]

    def run(self, commands: Sequence[Command], watcher: Watcher) -> list[Outcome]:
        """Runs the jobs.

        Raises:
            UserError: If submitit or the cluster is not there, or processes and machines do not fit together.
        """
        try:
            import submitit
        except ImportError as error:
            fix = "pip install 'specs_lab[slurm]'"
            raise UserError([Fault("hydra/launcher", "needs the package submitit, which is missing", fix)]) from error
        raise_faults(list(dict.fromkeys(fault for one in commands for fault in self._faults(one.needs))))
        forget_events(commands)
        jobs = self.submitter(submitit, commands)
        return follow_all(
            commands,
            watcher,
            jobs,
            at_a_time=self.at_a_time(commands),
            grace_s=self._settings["grace_s"],
            poll_s=self._settings["poll_s"],
        )

    @abstractmethod
    def submitter(self, submitit: Any, commands: Sequence[Command]) -> Callable[[int], Elsewhere]:
        """What hands a job, by its position, to the cluster."""

    def at_a_time(self, commands: Sequence[Command]) -> int:
        """How many jobs the cluster may have at a time."""
        return len(commands)

    def _faults(self, needs: Needs) -> list[Fault]:
        tasks, nodes = self._tasks(needs), self._nodes(needs)
        faults = []
        if tasks != needs.processes:
            what = f"{tasks} processes a machine, but trainer.devices={needs.processes}"
            faults.append(Fault("hydra.launcher.tasks_per_node", what, _FIX_TASKS))
        if nodes != needs.nodes:
            what = f"{nodes} machines, but trainer.nodes={needs.nodes}"
            faults.append(Fault("hydra.launcher.nodes", what, "leave it out: it is trainer.nodes by default"))
        return faults

    def _tasks(self, needs: Needs) -> int:
        return self._settings["tasks_per_node"] or needs.processes

    def _nodes(self, needs: Needs) -> int:
        return self._settings["nodes"] or needs.nodes

    def executor(self, submitit: Any, needs: Needs) -> Any:
        """Submitit's executor for jobs that take the same of a machine."""
        settings = self._settings
        executor = submitit.AutoExecutor(
            folder=settings["submitit_folder"],
            cluster=self.cluster,
            **{f"{self.cluster}_max_num_timeout": settings["max_num_timeout"]},
        )
        tasks = self._tasks(needs)
        common = {name: settings[name] for name in _COMMON} | {
            "cpus_per_task": settings["cpus_per_task"] or needs.threads,
            "gpus_per_node": settings["gpus_per_node"] or needs.gpus or None,
            "tasks_per_node": tasks,
            "nodes": self._nodes(needs),
            "stderr_to_stdout": settings["stderr_to_stdout"],
        }
        executor.update_parameters(**common, **self.own_parameters())
        return executor

    def own_parameters(self) -> dict[str, Any]:
        """Parameters that only this kind of cluster knows."""
        return {}


class SubmititLocalLauncher(SubmititLauncher):
    """Runs jobs on this machine, by the same means as on a cluster; to try out a sweep before it is submitted."""

    cluster = "local"

    def at_a_time(self, commands: Sequence[Command]) -> int:
        """As many as cores allow, one on GPUs."""
        if self._settings["array_parallelism"]:
            return self._settings["array_parallelism"]
        if any(command.needs.on_gpu for command in commands):
            return 1
        return max(1, available_cores() // max(one.needs.threads * one.needs.processes for one in commands))

    def own_parameters(self) -> dict[str, Any]:
        """What submitit's local executor takes beside the common ones."""
        return {"local_setup": self._settings["setup"]}

    def executor(self, submitit: Any, needs: Needs) -> Any:
        """As for any cluster; its delay has no parameter of its own."""
        executor = super().executor(submitit, needs)
        executor._executor.parameters["signal_delay_s"] = self._settings["signal_delay_s"]
        return executor

    def submitter(self, submitit: Any, commands: Sequence[Command]) -> Callable[[int], Elsewhere]:
        """What hands a job, by its position, to submitit."""
        from specs_lab.cli.launchers.submitted_job import SubmittedJob

        sweep = Sweep()

        def start(index: int) -> Elsewhere:
            command = commands[index]
            task = Task.of(command, self._settings["grace_s"], sweep)
            # Ctrl-C reaches the sweep only, which then ends its jobs in order.
            before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
            try:
                job = self.executor(submitit, command.needs).submit(SubmittedJob(task, on_cluster=False))
            finally:
                signal.pthread_sigmask(signal.SIG_SETMASK, before)
            return _LocalJob(job)

        return start


class SubmititSlurmLauncher(SubmititLauncher):
    """Hands jobs to SLURM, as one array for all that take the same of a machine."""

    cluster = "slurm"

    def own_parameters(self) -> dict[str, Any]:
        """``sbatch``'s own."""
        settings = self._settings
        given = {
            f"slurm_{name}": value
            for name, value in settings.items()
            if name not in (*_COMMON, *_OWN, "stderr_to_stdout")
        }
        more = {
            **({"requeue": True} if settings["requeue"] else {"no-requeue": True}),
            **settings["additional_parameters"],
        }
        return {**given, "slurm_additional_parameters": more}

    def submitter(self, submitit: Any, commands: Sequence[Command]) -> Callable[[int], Elsewhere]:
        """What hands a job, by its position, to submitit."""
        from specs_lab.cli.launchers.submitted_job import SubmittedJob

        if submitit.SlurmExecutor.affinity() < 0:
            fix = "run the sweep where sbatch and srun are, or choose hydra/launcher=submitit_local"
            raise UserError([Fault("hydra/launcher", "there is no SLURM on this machine (no srun)", fix)])
        submitit.SlurmJob.watcher = submitit.slurm.slurm.SlurmInfoWatcher(delay_s=_SACCT_S)  # its own: ten minutes
        groups: dict[tuple[Any, ...], list[int]] = {}
        for index, command in enumerate(commands):
            needs = command.needs
            groups.setdefault((needs.nodes, needs.processes, needs.on_gpu, needs.threads), []).append(index)
        jobs: dict[int, Any] = {}
        for members in groups.values():
            executor = self.executor(submitit, commands[members[0]].needs)
            with executor.batch():
                tasks = [Task.of(commands[index], self._settings["grace_s"]) for index in members]
                submitted = [executor.submit(SubmittedJob(task, on_cluster=True)) for task in tasks]
            jobs.update(zip(members, submitted, strict=True))
        return lambda index: _SlurmJob(jobs[index])


class _Job(Elsewhere):
    """A job of submitit's."""

    def __init__(self, job: Any) -> None:
        self._job = job
        self._code: int | None = None

    def state(self) -> str:
        """As submitit calls it, in small letters."""
        return f"job {self._job.job_id}: {self._job.state.lower()}"

    def exit_code(self) -> int | None:
        """That of the first of its processes that failed."""
        if self._code is None and self._job.done():
            self._code = self._read()
        return self._code

    def _read(self) -> int:
        from submitit.core.utils import FailedJobError, UncompletedJobError

        try:
            codes = self._job.results()
        except (FailedJobError, UncompletedJobError) as error:
            self.reason = f"submitit: {error}"
            return EXIT_FAILED
        return next((code for code in codes if code), 0)


class _LocalJob(_Job):
    def exit_code(self) -> int | None:
        """As for any; a job that ended without a result was interrupted, and none will come."""
        if self._code is None and self._job.done():
            tasks = [self._job.task(number) for number in range(self._job.num_tasks)]
            left = all(task.paths.result_pickle.exists() for task in tasks)
            self._code = self._read() if left else EXIT_FAILED
        return self._code

    def cancel(self) -> bool:
        """Asks the process that holds the job, which hands it on."""
        self._signal(signal.SIGTERM)
        return True

    def kill(self) -> None:
        """Submitit's own way, which waits for a second."""
        self._job.cancel(check=False)

    def _signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            os.kill(int(self._job.job_id), number)


class _SlurmJob(_Job):
    def cancel(self) -> bool:
        """By ``scancel``; SLURM gives the job its own grace."""
        self._job.cancel(check=False)
        return False

    def kill(self) -> None:
        """Nothing more can be done than to cancel it."""
