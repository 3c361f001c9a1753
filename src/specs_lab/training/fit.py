"""Runs a training module over a fixed list of batches with Lightning."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import torch
from lightning import Callback, LightningModule, Trainer
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.pytorch.plugins.io import TorchCheckpointIO
from lightning.pytorch.strategies import DDPStrategy, ModelParallelStrategy, Strategy
from torch.utils.data import DataLoader, Dataset, Sampler

from specs_lab.core.progress import Progress
from specs_lab.core.seeding import numpy_rng
from specs_lab.training.base import TrainingModule
from specs_lab.training.distributed import world_size
from specs_lab.training.options.trainer import TrainerOptions
from specs_lab.training.ranks import cluster

T = TypeVar("T")


class Items(Dataset[T]):
    """A map-style dataset over a function of the index; ``make`` must depend on the index only."""

    def __init__(self, count: int, make: Callable[[int], T]) -> None:
        self._count, self._make = count, make

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> T:
        return self._make(index)


class ShuffledBatches(Sampler[list[int]]):
    """Exactly ``steps`` batches: each pass over the data is a new permutation, fixed by the seed.

    The order depends on the arguments only, so that arms with equal seeds see equal batches.

    Args:
        size: Items in the dataset.
        batch_size: Items in a batch.
        steps: Number of batches.
        seed: Names the order.
    """

    def __init__(self, size: int, batch_size: int, steps: int, seed: object) -> None:
        self._size, self._batch_size, self._steps, self._seed = size, batch_size, steps, seed

    def __len__(self) -> int:
        return self._steps

    def __iter__(self) -> Iterator[list[int]]:
        order: list[int] = []
        passes = 0
        for _ in range(self._steps):
            while len(order) < self._batch_size:
                order += numpy_rng("order", self._seed, passes).permutation(self._size).tolist()
                passes += 1
            yield order[: self._batch_size]
            del order[: self._batch_size]


class ConsecutiveBatches(Sampler[list[int]]):
    """``steps`` batches of consecutive indices, for endless streams."""

    def __init__(self, batch_size: int, steps: int) -> None:
        self._batch_size, self._steps = batch_size, steps

    def __len__(self) -> int:
        return self._steps

    def __iter__(self) -> Iterator[list[int]]:
        for step in range(self._steps):
            yield list(range(step * self._batch_size, (step + 1) * self._batch_size))


class AfterSteps(Sampler[list[int]]):
    """The batches that are left after some steps; its length is that of all, as Lightning counts on from there."""

    def __init__(self, batches: Sampler[list[int]], steps: int) -> None:
        self._batches, self._steps = batches, steps

    def __len__(self) -> int:
        return len(self._batches)  # type: ignore[arg-type] # both samplers above have a length

    def __iter__(self) -> Iterator[list[int]]:
        return islice(iter(self._batches), self._steps, None)


class StepProgress(Callback):
    """Reports each step to the study's progress."""

    def __init__(self, advance: Callable[..., None]) -> None:
        self._advance = advance

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Lightning's hook."""
        metrics = pl_module.step_metrics if isinstance(pl_module, TrainingModule) else {}
        shown = {key.split("/")[-1]: metrics[key] for key in ("train/loss", "rollout/reward") if key in metrics}
        self._advance(1, note=" ".join(f"{name} {value:.3f}" for name, value in shown.items()))


def fit(
    module: TrainingModule,
    data: Dataset[Any],
    batches: Sampler[list[int]],
    *,
    trainer: TrainerOptions,
    callbacks: Sequence[Callback] = (),
    loggers: Sequence[Any] = (),
    resume: Path | None = None,
    progress: Progress | None = None,
    name: str = "training",
) -> None:
    """Trains a module in place; ranks that work together all call this, and are all given whole batches.

    Args:
        module: The module.
        data: Items; a batch is the list of them.
        batches: Indices of each step's items.
        trainer: Hardware settings.
        callbacks: Lightning callbacks.
        loggers: Lightning loggers.
        resume: A checkpoint that Lightning wrote after some steps of the same training; it goes on from there.
        progress: Where steps are shown; by default nowhere.
        name: What is shown.
    """
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    torch.set_num_threads(trainer.threads)
    done = 0 if resume is None else _steps_done(resume, module)
    loader = DataLoader(data, batch_sampler=AfterSteps(batches, done), collate_fn=list)
    steps = len(batches)  # type: ignore[arg-type] # both samplers above have a length
    module.vlm.model.train()  # Lightning leaves the mode as it finds it
    with (progress or Progress()).task(name, steps) as advance, warnings.catch_warnings():
        advance(done)
        # Items are made in microseconds; loader processes would only cost memory.
        warnings.filterwarnings("ignore", message=".*does not have many workers.*")
        # Which batches are left after a checkpoint is known here, not to the loader.
        warnings.filterwarnings("ignore", message=".*your dataloader is not resumable.*")
        # Lightning reads a name that newer releases of torch have deprecated.
        warnings.filterwarnings("ignore", message=".*LeafSpec.*", category=FutureWarning)
        lightning = Trainer(
            accelerator=trainer.accelerator,
            **_placement(trainer),
            use_distributed_sampler=False,  # modules take their share of a batch themselves
            max_epochs=1,
            logger=list(loggers) or False,
            callbacks=[*callbacks, StepProgress(advance)],
            log_every_n_steps=1,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
        )
        try:
            lightning.fit(module, loader, ckpt_path=resume, weights_only=True)
        except SystemExit as ended:
            if isinstance(ended.__context__, KeyboardInterrupt):  # which Lightning turns into an exit of its own
                raise KeyboardInterrupt from ended
            raise
    module.vlm.model.eval()


class InPlace(TorchCheckpointIO):
    """Writes checkpoints where they are to be; Lightning's own go through the system's temporary folder."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Lightning's hook."""
        del storage_options
        torch.save(checkpoint, path)


def _steps_done(checkpoint: Path, module: TrainingModule) -> int:
    """How many steps a checkpoint is after; Lightning counts updates, of which a step may have many or none."""
    found = torch.load(checkpoint, map_location="cpu", weights_only=True, mmap=True)  # tensors are not read here
    module.require_own(found["state_dict"])  # shares are loaded without a look at what there is
    return found["specs_lab"]["progress"]["steps"]


def _placement(trainer: TrainerOptions) -> dict[str, Any]:
    """Lightning's settings of who trains; ranks have found each other by now (:mod:`specs_lab.training.ranks`)."""
    ranks = world_size()
    if ranks == 1:  # whatever a cluster's variables say
        return {"devices": 1, "plugins": [LightningEnvironment(), InPlace()]}
    strategies: dict[str, Callable[[], Strategy]] = {
        "ddp": DDPStrategy,
        "fsdp2": lambda: ModelParallelStrategy(ranks, 1, save_distributed_checkpoint=False),
    }
    return {
        "devices": trainer.devices,
        "num_nodes": trainer.nodes,
        "strategy": strategies[trainer.strategy](),
        "plugins": [cluster(), InPlace()],
    }
