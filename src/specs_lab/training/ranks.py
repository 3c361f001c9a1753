"""How processes find each other: who a rank is, by torchrun's variables or SLURM's, and the groups they talk in."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from lightning.fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from torch.distributed.distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous

from specs_lab.core.errors import Fault, UserError
from specs_lab.training.distributed import join
from specs_lab.training.options.trainer import TrainerOptions

_ERROR = "specs_lab/error"
"""Key of the rendezvous store under which the first rank that fails says why."""
_POLL_S, _GRACE_S = 1.0, 5.0
EXIT_OTHER_RANK = 75
"""Exit code of a process that ends because another one has failed."""
_FOREVER = timedelta(days=365)
"""What one rank makes while the others wait may take long."""


class OtherRankFailed(RuntimeError):
    """This rank ends because of another one, which has said why; the message is what it said."""


def cluster() -> ClusterEnvironment | None:
    """Who started this process as one of several; None if nobody did.

    A batch script knows how many tasks its job has, but is none of them: only srun numbers those of a step.
    """
    if TorchElasticEnvironment.detect():
        return TorchElasticEnvironment()
    if SLURMEnvironment.detect() and int(os.environ.get("SLURM_STEP_NUM_TASKS", "1")) > 1:
        return SLURMEnvironment(auto_requeue=False)  # its handlers of signals are not ours
    return None


def require_ranks(trainer: TrainerOptions) -> bool:
    """Checks that this process is one of the ranks that the options ask for.

    Returns:
        Whether it is; False: there is no such environment, and nodes is 1, so that ranks can be started here.

    Raises:
        UserError: If the environment has another number of processes, or nobody started processes on several nodes.
    """
    wanted, found = trainer.devices * trainer.nodes, cluster()
    asked = f"trainer.devices={trainer.devices} x trainer.nodes={trainer.nodes}"
    if found is None:
        if trainer.nodes > 1:
            what = f"{asked} are {wanted} processes on several machines, which this command cannot start"
            raise UserError([Fault("trainer.nodes", what, _how(trainer))])
        return wanted == 1
    if isinstance(found, SLURMEnvironment) and wanted == 1:
        return True  # each task is a run of its own
    if found.world_size() != wanted:
        name = "SLURM" if isinstance(found, SLURMEnvironment) else "torchrun"
        what = f"{asked} are {wanted} processes, and {name} has started {found.world_size()}"
        raise UserError([Fault("trainer.devices", what, "make them agree, " + _how(trainer))])
    return True


def _how(trainer: TrainerOptions) -> str:
    devices, nodes = trainer.devices, trainer.nodes
    torchrun = f"torchrun --nnodes={nodes} --nproc-per-node={devices} --rdzv-backend=c10d --rdzv-endpoint=<first host>"
    return (
        f"start it by `srun --nodes={nodes} --ntasks-per-node={devices} specs-lab ...`, or on each machine by "
        f"`{torchrun} -m specs_lab.run ...`"
    )


@contextmanager
def joined(trainer: TrainerOptions) -> Iterator[int]:
    """Joins the other ranks for as long as the context lasts; yields this rank's number. With one process, nothing.

    Raises:
        UserError: See :func:`require_ranks`.
        OtherRankFailed: Instead of an error in here that another rank's error has caused.
    """
    found = cluster()
    if found is None or trainer.devices * trainer.nodes == 1:
        yield 0
        return
    store = _initialise(found, trainer)
    number, left = dist.get_rank(), threading.Event()
    threading.Thread(target=_end_with_others, args=(store, left), name="ranks", daemon=True).start()
    try:
        yield number
    except Exception as error:
        said = f"rank {number}: {type(error).__name__}: {error}"
        first = store.compare_set(_ERROR, "", said).decode()
        if first != said:
            raise OtherRankFailed(first) from error
        raise
    else:
        dist.destroy_process_group()
    finally:
        left.set()


def _end_with_others(store: Any, left: threading.Event) -> None:
    """Ends this process some time after another one has failed: it may be in a wait that nothing interrupts."""
    while not left.wait(_POLL_S):
        try:
            failed = store.check([_ERROR])
        except RuntimeError:  # whoever keeps the store has gone
            failed = True
        if failed and not left.wait(_GRACE_S):
            os._exit(EXIT_OTHER_RANK)


def _initialise(found: ClusterEnvironment, trainer: TrainerOptions) -> Any:
    """Makes the process groups; returns the store that ranks can leave messages in."""
    os.environ.setdefault("MASTER_ADDR", found.main_address)
    os.environ.setdefault("MASTER_PORT", str(found.main_port))
    timeout = timedelta(seconds=trainer.timeout_s)
    on_gpu = trainer.accelerator == "gpu" or (trainer.accelerator == "auto" and torch.cuda.is_available())
    if on_gpu:
        torch.cuda.set_device(found.local_rank())
    store, _, _ = next(rendezvous("env://", found.global_rank(), found.world_size(), timeout=timeout))
    dist.init_process_group(
        "nccl" if on_gpu else "gloo",
        store=PrefixStore("specs_lab", store),
        rank=found.global_rank(),
        world_size=found.world_size(),
        timeout=timeout,
    )
    talk = dist.new_group(backend="gloo", timeout=_FOREVER)
    if not isinstance(talk, dist.ProcessGroup):
        raise RuntimeError("this process is not in the group of all processes")
    join(talk, trainer.timeout_s)
    return store
