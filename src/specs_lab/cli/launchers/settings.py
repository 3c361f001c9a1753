"""What can be wrong with a launcher's settings, told before anything runs."""

from __future__ import annotations

from typing import Any

from omegaconf import DictConfig

from specs_lab.core.errors import Fault

_AT_LEAST_ONE = (
    "n_jobs",
    "timeout_min",
    "cpus_per_task",
    "tasks_per_node",
    "nodes",
    "array_parallelism",
    "cpus_per_gpu",
)
_NOT_NEGATIVE = ("gpus_per_node", "gpus_per_task", "max_num_timeout", "max_retries", "num_gpus", "grace_s")
_POSITIVE = ("memory_gb", "job_memory_gb", "mem_gb", "num_cpus", "poll_s")


def launcher_faults(settings: DictConfig | None) -> list[Fault]:
    """Everything that is wrong with the values of ``hydra.launcher``.

    Args:
        settings: The composed node; types are right.
    """
    faults = []
    for name, value in (settings or {}).items():
        if isinstance(value, int | float) and not isinstance(value, bool):
            faults += _faults_of(str(name), value)
    return faults


def _faults_of(name: str, value: Any) -> list[Fault]:
    where = f"hydra.launcher.{name}"
    if name in _AT_LEAST_ONE and value < 1:
        return [Fault(where, f"{value} is less than 1", "give a number >= 1, or leave it out")]
    if name in _NOT_NEGATIVE and value < 0:
        return [Fault(where, f"{value} is less than 0", "give a number >= 0, or leave it out")]
    if name in _POSITIVE and value <= 0:
        return [Fault(where, f"{value} is not positive", "give a number > 0, or leave it out")]
    return []
