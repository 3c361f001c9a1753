"""What stage runners share: loading and saving the model, loggers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from specs_lab.models.vlm import VLM
from specs_lab.stages.context import StageContext
from specs_lab.tracking.loggers import finish_loggers
from specs_lab.training.options.trainer import TrainerOptions

MODEL = "model"
"""Name of the folder, inside an artifact, that holds a model."""


def load_model(context: StageContext, name: str) -> VLM:
    """The model of an input, in float32, set up for the trainer; its vision tower is frozen if the base says so."""
    trainer: TrainerOptions = context.options["trainer"]
    artifact = context.inputs[name]
    torch.set_num_threads(trainer.threads)
    vlm = VLM.load(
        artifact / MODEL,
        freeze_vision=not (artifact / "vision_is_trained").exists(),
        share_prompts=trainer.share_prompts,
        feature_cache_bytes=trainer.feature_cache_mb << 20,
    )
    if vlm.why_plain and trainer.share_prompts:
        context.progress.message(f"{context.name}: prompts are not shared, training is slower: {vlm.why_plain}")
    if trainer.gradient_checkpointing:
        vlm.checkpoint_activations()
    use_gpu = trainer.accelerator == "gpu" or (trainer.accelerator == "auto" and torch.cuda.is_available())
    return vlm.to("cuda") if use_gpu else vlm


def save_model(vlm: VLM, context: StageContext) -> None:
    """Writes a stage's model, and hands on whether its vision tower may be trained."""
    vlm.save(context.folder / MODEL)
    if not vlm.vision_frozen:
        (context.folder / "vision_is_trained").touch()


@contextmanager
def open_loggers(context: StageContext) -> Iterator[list[Any]]:
    """The stage's Lightning loggers; closed afterwards, and marked as failed if the stage failed."""
    loggers = context.loggers()
    failed = True
    try:
        yield loggers
        failed = False
    finally:
        finish_loggers(loggers, failed)
