"""What submitit calls on the machine that runs a job. It imports little: the job itself is a process of its own."""

from __future__ import annotations

import signal
import sys
from dataclasses import dataclass
from types import FrameType
from typing import Any

from submitit import JobEnvironment
from submitit.helpers import DelayedSubmission, TorchDistributedEnvironment

from specs_lab.cli.launchers.attended import Attendant, Task
from specs_lab.core.stopping import EXIT_TERMINATED


class _Present:
    """The job that this process attends; not part of what submitit pickles."""

    attendant: Attendant | None = None


@dataclass(frozen=True)
class SubmittedJob:
    """A job, for submitit to call.

    Attributes:
        task: The job.
        on_cluster: Whether a cluster runs it, whose signals go to all processes of a job, not only to this one.
    """

    task: Task
    on_cluster: bool

    def __call__(self) -> int:
        """Runs the job; its exit code.

        Raises:
            SystemExit: If it was asked to end. Whether it is started again, the cluster decides: this is no result.
        """
        signal.signal(signal.SIGTERM, self._terminated)
        attendant = _Present.attendant = Attendant(self.task, JobEnvironment().global_rank, self._rank())
        code = attendant.wait()
        if code == EXIT_TERMINATED:
            sys.exit(code)
        return code

    def checkpoint(self) -> DelayedSubmission:
        """Submitit's hook for preemption and time limits: has the job write a checkpoint and end.

        Returns:
            What goes on in its place.
        """
        if _Present.attendant is not None:
            _Present.attendant.stop()
        return DelayedSubmission(self)

    def _terminated(self, number: int, _: FrameType | None) -> None:
        attendant = _Present.attendant
        if attendant is None:
            sys.exit(EXIT_TERMINATED)
        if self.on_cluster:
            attendant.was_asked()
        else:
            attendant.ask()

    def _rank(self) -> dict[str, str]:
        """Which of the job's processes this is, in torchrun's words; empty if there is one only."""
        here: Any = TorchDistributedEnvironment()
        if here.world_size == 1:
            return {}
        return {
            "MASTER_ADDR": here.master_addr if self.on_cluster else "127.0.0.1",
            "MASTER_PORT": str(here.master_port),
            "RANK": str(here.rank),
            "WORLD_SIZE": str(here.world_size),
            "LOCAL_RANK": str(here.local_rank),
            "LOCAL_WORLD_SIZE": str(here.local_world_size),
            "GROUP_RANK": str(here.rank // here.local_world_size),
            "TORCHELASTIC_RUN_ID": JobEnvironment().job_id,  # by this, a process knows that torchrun's words hold
        }
