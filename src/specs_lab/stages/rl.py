"""Stage `rl`: GRPO from the input model."""

from __future__ import annotations

from typing import Any

from lightning import Callback, LightningModule, Trainer

from specs_lab.stages.common import load_model, save_model, scorer, training_tasks
from specs_lab.stages.context import StageContext
from specs_lab.tracking.rows import RowWriter
from specs_lab.training.base import TrainingModule
from specs_lab.training.fit import ConsecutiveBatches, Items, fit
from specs_lab.training.grpo import GRPOModule


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


def run(context: StageContext) -> None:
    """Trains the input model by reinforcement learning with verifiable rewards."""
    options, trainer = context.options["rl"], context.options["trainer"]
    vlm = load_model(context.inputs["model"], trainer)
    stream = f"rl/{context.seed}"
    module = GRPOModule(
        vlm,
        options,
        scorer(context.options["reward"]),
        micro_batch_size=trainer.micro_batch_size,
        sample_batch_size=trainer.sample_batch_size,
        stream=stream,
    )
    batch = options.prompts_per_step
    tasks = Items(batch * options.steps, training_tasks(context.options["problems"], options.mixture, stream))
    with RowWriter(context.folder / "rows.csv") as rows:
        fit(
            module,
            tasks,
            ConsecutiveBatches(batch, options.steps),
            trainer=trainer,
            callbacks=[StepRows(rows, options.log_every)],
            loggers=context.loggers(),
            progress=context.progress,
            name=f"{context.name}: GRPO",
        )
    save_model(vlm, context)
