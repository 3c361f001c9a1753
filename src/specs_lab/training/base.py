"""What all four methods share: the optimizer step.

One Lightning batch is one optimizer step; micro-batches live inside it, and every term of the loss is divided by a
count over the *whole* step, all ranks included (Lightning's own accumulation would average micro-batch means, which
weights tokens by how rows happen to be split). Every rank is given the whole batch and takes its share of it.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict
from typing import Any, TypeVar

import torch
from lightning.pytorch.strategies import ModelParallelStrategy
from torch import Tensor

from specs_lab.core.budget import Budget
from specs_lab.core.errors import Fault, UserError
from specs_lab.models.prompts import Row
from specs_lab.models.vlm import VLM
from specs_lab.objectives.optimisation import OptimiserOptions
from specs_lab.objectives.terms import Loss, Unit
from specs_lab.training.distributed import clip_gradients, from_all, meet, sum_gradients, summed, world_size
from specs_lab.training.guards.guarded import Guarded
from specs_lab.training.optimizers import make_optimizer
from specs_lab.training.sharding import shard

T = TypeVar("T")


def unit_counts(rows: Sequence[Row]) -> dict[Unit, float]:
    """How many completion tokens and how many rows there are: what loss terms are divided by."""
    return {"token": float(sum(len(row.completion) for row in rows)), "sequence": float(len(rows))}


class TrainingModule(Guarded):
    """A method that trains a :class:`VLM`; subclasses are final and implement :meth:`train_step`.

    Args:
        vlm: The policy; trained in place.
        optimiser: Settings of the optimizer.
        micro_batch_tokens: Most tokens in one forward pass.
    """

    def __init__(self, vlm: VLM, optimiser: OptimiserOptions, micro_batch_tokens: int) -> None:
        super().__init__(vlm, micro_batch_tokens)
        self.automatic_optimization = False
        self.strict_loading = False  # checkpoints hold what learns; that they hold all of it is checked on loading
        self.optimiser = optimiser
        self.budget = Budget(parameters=vlm.forward_parameters, frozen=vlm.frozen_forward_parameters)
        self.step_metrics: dict[str, float] = {}
        self.updates = 0
        self.steps = 0
        self._generators: dict[str, Tensor] = {}

    @abstractmethod
    def train_step(self, batch: Sequence[Any]) -> dict[str, float]:
        """Does one step's work, including its optimizer updates; returns metrics to report."""

    def training_step(self, batch: Sequence[Any], batch_idx: int) -> None:
        """Lightning's hook: one batch, one step."""
        self._restore_generators()
        meet(f"step {batch_idx + 1}")
        with self.budget.clock():
            self.step_metrics = self.train_step(batch)
        self.steps = batch_idx + 1
        # Steps taken, as evaluations count them; Lightning itself would count from 0.
        self.log_dict({**self.step_metrics, "step": float(batch_idx + 1)}, batch_size=len(batch))

    def transfer_batch_to_device(
        self, batch: Sequence[Any], device: torch.device, dataloader_idx: int
    ) -> Sequence[Any]:
        """Lightning's hook: a batch is records, whose tensors the wrapper moves where it needs them."""
        del device, dataloader_idx
        return batch

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """AdamW over everything that is not frozen."""
        return make_optimizer(self.optimiser, [p for p in self.vlm.parameters() if p.requires_grad])

    def models(self) -> list[VLM]:
        """All models that the method runs, the policy first; subclasses add to it."""
        return [self.vlm]

    def configure_model(self) -> None:
        """Lightning's hook, on all ranks: shares models out among them if the strategy says so."""
        strategy = self.trainer.strategy
        if isinstance(strategy, ModelParallelStrategy) and self.vlm.shards is None:
            shard(self.models(), strategy.root_device)

    # -- checkpoints -------------------------------------------------------------------------------------------------

    def progress_state(self) -> dict[str, Any]:
        """What a step depends on beside weights and optimizer, as plain values; subclasses add to it."""
        own = {"steps": self.steps, "updates": self.updates, "budget": asdict(self.budget)}
        return {**own, "guard": self.guard_state()}

    def load_progress_state(self, state: Mapping[str, Any]) -> None:
        """Restores what :meth:`progress_state` returned."""
        self.steps, self.updates = state["steps"], state["updates"]
        self.budget = Budget(**state["budget"])
        self.load_guard_state(state["guard"])

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Lightning's hook: leaves frozen weights out, which the stage's input has; adds what else a step depends on.

        What GRPO samples depends on names, not on a generator; torch's generators are kept for an adapter's dropout.
        """
        learning = self._learning()
        weights = checkpoint["state_dict"]
        checkpoint["state_dict"] = {name: weights[name] for name in weights if name in learning}
        generators = {"cpu": torch.get_rng_state()}
        if self.vlm.device.type == "cuda":
            generators["cuda"] = torch.cuda.get_rng_state(self.vlm.device)
        checkpoint["specs_lab"] = {"progress": self.progress_state(), "generators": generators}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Lightning's hook, before weights are loaded.

        Raises:
            UserError: If the checkpoint holds other weights than those that learn.
        """
        if "state_dict" in checkpoint:  # else the weights are loaded, as shares
            self.require_own(checkpoint["state_dict"])
        self.load_progress_state(checkpoint["specs_lab"]["progress"])
        self._generators = checkpoint["specs_lab"]["generators"]

    def require_own(self, names: Iterable[str]) -> None:
        """Checks that the weights in a checkpoint are those that learn.

        Raises:
            UserError: If they are not.
        """
        learning, stored = self._learning(), set(names)
        if learning != stored:
            other = sorted(learning ^ stored)
            what = f"it is of another model or adapter: {len(other)} weights differ, the first is {other[0]}"
            raise UserError([Fault("checkpoint", what, "resume with the options that it was made with")])

    def _restore_generators(self) -> None:
        """Done at the first step after loading: Lightning itself draws numbers before it."""
        for kind, state in self._generators.items():
            if kind == "cpu":
                torch.set_rng_state(state.cpu())
            elif self.vlm.device.type == "cuda":
                torch.cuda.set_rng_state(state.cpu(), self.vlm.device)
        self._generators = {}

    def _learning(self) -> set[str]:
        """Names, as in a state dict, of the weights that learn; tied ones have several."""
        return {name for name, p in self.named_parameters(remove_duplicate=False) if p.requires_grad}

    # -- updates -----------------------------------------------------------------------------------------------------

    def update(
        self,
        items: Sequence[T],
        rows: Callable[[T], Sequence[Row]],
        counts: Mapping[Unit, float],
        objective: Callable[[Sequence[T]], Loss],
    ) -> dict[str, float]:
        """One optimizer update over all items of all ranks, micro-batch by micro-batch.

        Args:
            items: What this rank evaluates the objective on; at least one on one rank.
            rows: The rows of an item.
            counts: Tokens and sequences of the whole step, all ranks included, for normalisation.
            objective: Loss of a micro-batch.

        Returns:
            ``loss``, ``grad_norm``, ``lr``, and the objective's metrics averaged over the items; of an update that is
            left out because it is not finite, none of these. Also what :meth:`faults` returns.
        """
        optimizer: Any = self.optimizers()  # the only one
        optimizer.zero_grad(set_to_none=True)
        sums = self.within_memory(lambda: self._accumulate(items, rows, counts, objective), rows)
        norm = self._clip([p for group in optimizer.param_groups for p in group["params"]])
        totals = self._totals(sums, len(items))
        count, loss = totals.pop("items"), totals.pop("loss")
        if not math.isfinite(loss + norm):
            self.leave_out(items, rows, counts, objective, (loss, norm))
            return self.faults()
        lr = self.optimiser.lr * min(1.0, (self.updates + 1) / max(1, self.optimiser.warmup_steps))
        for group in optimizer.param_groups:
            group["lr"] = lr
        optimizer.step()
        self.updates += 1
        self.guard.made()
        means = {name: value / count for name, value in totals.items()}
        return {"loss": loss, "grad_norm": norm, "lr": lr, **means, **self.faults()}

    def _accumulate(
        self,
        items: Sequence[T],
        rows: Callable[[T], Sequence[Row]],
        counts: Mapping[Unit, float],
        objective: Callable[[Sequence[T]], Loss],
    ) -> dict[str, Tensor]:
        """Adds up this rank's gradients, micro-batch by micro-batch; returns its sums of the loss and the metrics."""
        sums: dict[str, Tensor] = {"loss": torch.zeros((), device=self.vlm.device)}
        with self.gradients_stay_here():
            for part in self.micro_batches(items, rows):
                loss = objective(part)
                value = loss.normalised(counts)
                self.manual_backward(value)
                self.trail.losses.append(value.detach())
                for name, summand in {"loss": value.detach(), **loss.metrics}.items():
                    sums[name] = sums[name] + summand if name in sums else summand
        return sums

    def _clip(self, parameters: Sequence[torch.nn.Parameter]) -> float:
        """Sums gradients over ranks and clips them; returns their norm before."""
        sum_gradients(parameters)
        return clip_gradients(parameters, self.optimiser.max_grad_norm)

    def _totals(self, sums: Mapping[str, Tensor], items: int) -> dict[str, float]:
        """Sums over ranks, and the number of items; a rank without items knows no metric's name but adds nothing."""
        own = {**{name: float(value) for name, value in sums.items()}, "items": float(items)}
        if world_size() == 1:
            return own
        names = dict.fromkeys(name for names in from_all(list(own)) for name in names)
        return summed({name: own.get(name, 0.0) for name in names}, self.vlm.device)

    @contextmanager
    def gradients_stay_here(self) -> Iterator[None]:
        """Where gradients are made; keeps DDP from exchanging them after every backward pass: it is done at the end."""
        wrapped = self.trainer.model
        is_ddp = isinstance(wrapped, torch.nn.parallel.DistributedDataParallel)
        with wrapped.no_sync() if is_ddp else nullcontext(), self.vlm.in_step():
            yield
