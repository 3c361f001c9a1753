"""How a stage's training is guarded against numbers that are not finite and memory that runs out."""

from __future__ import annotations

from specs_lab.stages.context import StageContext
from specs_lab.training.guards.policy import NON_FINITE, Guard
from specs_lab.training.options.trainer import TrainerOptions


def guard_of(context: StageContext) -> Guard:
    """The guard of a stage's training, as the trainer's options say.

    Samples at fault are written to the work folder, where a resumed training finds them, to the artifact, and to the
    job's folder, where they stay also if the stage fails.
    """
    trainer: TrainerOptions = context.options["trainer"]
    folders = [context.work, context.folder, *([context.logs] if context.logs else [])]
    return Guard(
        on_nan=trainer.on_nan,
        nan_skips=trainer.nan_skips,
        oom_halvings=trainer.oom_halvings,
        name=f"stage {context.name}",
        files=[folder / NON_FINITE for folder in folders],
        tell=context.progress.message,
    )
