"""Stage `rl`: GRPO from the input model."""

from __future__ import annotations

from specs_lab.stages.common import load_model, open_loggers, save_model, scorer, training_tasks
from specs_lab.stages.context import StageContext
from specs_lab.stages.curve import StepRows
from specs_lab.tracking.rows import RowWriter
from specs_lab.training.fit import ConsecutiveBatches, Items, fit
from specs_lab.training.grpo import GRPOModule


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
    with RowWriter(context.folder / "rows.csv") as rows, open_loggers(context) as loggers:
        fit(
            module,
            tasks,
            ConsecutiveBatches(batch, options.steps),
            trainer=trainer,
            callbacks=[StepRows(rows, options.log_every)],
            loggers=loggers,
            progress=context.progress,
            name=f"{context.name}: GRPO",
        )
    save_model(vlm, context)
