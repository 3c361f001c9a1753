"""What all four methods share: the optimizer step.

One Lightning batch is one optimizer step; micro-batches live inside it, and every term of the loss is divided by a
count over the *whole* step (Lightning's own accumulation would average micro-batch means, which weights tokens by how
rows happen to be split).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import torch
from lightning import LightningModule
from torch import Tensor

from specs_lab.core.budget import Budget
from specs_lab.models.vlm import VLM, Row
from specs_lab.objectives.optimisation import OptimiserOptions
from specs_lab.objectives.terms import Loss, Unit

T = TypeVar("T")


def row_tokens(rows: Sequence[Row]) -> int:
    """Tokens of prompts and completions, without padding."""
    return sum(len(row.prompt.token_ids) + len(row.completion) for row in rows)


def unit_counts(rows: Sequence[Row]) -> dict[Unit, float]:
    """How many completion tokens and how many rows there are: what loss terms are divided by."""
    return {"token": float(sum(len(row.completion) for row in rows)), "sequence": float(len(rows))}


class TrainingModule(LightningModule):
    """A method that trains a :class:`VLM`; subclasses are final and implement :meth:`train_step`.

    Args:
        vlm: The policy; trained in place.
        optimiser: Settings of AdamW.
        micro_batch_size: Items in one forward pass.
    """

    def __init__(self, vlm: VLM, optimiser: OptimiserOptions, micro_batch_size: int) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.vlm = vlm
        self.optimiser = optimiser
        self.micro_batch_size = micro_batch_size
        self.budget = Budget(parameters=vlm.forward_parameters)
        self.step_metrics: dict[str, float] = {}
        self.updates = 0

    @abstractmethod
    def train_step(self, batch: Sequence[Any]) -> dict[str, float]:
        """Does one step's work, including its optimizer updates; returns metrics to report."""

    def training_step(self, batch: Sequence[Any], batch_idx: int) -> None:
        """Lightning's hook: one batch, one step."""
        with self.budget.clock():
            self.step_metrics = self.train_step(batch)
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
        options = self.optimiser
        return torch.optim.AdamW(
            [p for p in self.vlm.parameters() if p.requires_grad],
            lr=options.lr,
            betas=(options.adam_beta1, options.adam_beta2),
            weight_decay=options.weight_decay,
        )

    def update(
        self, items: Sequence[T], counts: Mapping[Unit, float], objective: Callable[[Sequence[T]], Loss]
    ) -> dict[str, float]:
        """One optimizer update over all items, micro-batch by micro-batch.

        Args:
            items: What the objective is evaluated on, at least one; like lengths next to each other save padding.
            counts: Tokens and sequences of the whole step, for normalisation.
            objective: Loss of a micro-batch.

        Returns:
            ``loss``, ``grad_norm``, ``lr``, and the objective's metrics averaged over the items.
        """
        optimizer: Any = self.optimizers()  # the only one
        optimizer.zero_grad(set_to_none=True)
        metrics: dict[str, Tensor] = {}
        total = torch.zeros((), device=self.vlm.device)
        for start in range(0, len(items), self.micro_batch_size):
            loss = objective(items[start : start + self.micro_batch_size])
            value = loss.normalised(counts)
            self.manual_backward(value)
            total += value.detach()
            for name, summed in loss.metrics.items():
                metrics[name] = metrics.get(name, 0) + summed
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        norm = torch.nn.utils.clip_grad_norm_(parameters, self.optimiser.max_grad_norm)
        lr = self.optimiser.lr * min(1.0, (self.updates + 1) / max(1, self.optimiser.warmup_steps))
        for group in optimizer.param_groups:
            group["lr"] = lr
        optimizer.step()
        self.updates += 1
        means = {name: float(value) / len(items) for name, value in metrics.items()}
        return {"loss": float(total), "grad_norm": float(norm), "lr": lr, **means}
