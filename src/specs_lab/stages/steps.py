"""Rows of training metrics, one set a step."""

from __future__ import annotations

from typing import Any

from lightning import Callback, LightningModule, Trainer

from specs_lab.tracking.rows import RowWriter
from specs_lab.training.base import TrainingModule


class StepRows(Callback):
    """Writes each step's metrics as rows."""

    def __init__(self, rows: RowWriter, every: int = 1) -> None:
        self._rows, self._every = rows, every

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Lightning's hook."""
        if not isinstance(pl_module, TrainingModule) or (batch_idx + 1) % self._every:
            return
        for name, value in pl_module.step_metrics.items():
            self._rows.add(step=batch_idx + 1, cell="", metric=name, value=value, n=len(batch), budget=pl_module.budget)
