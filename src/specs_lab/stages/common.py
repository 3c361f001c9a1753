"""What stage runners share: loading the input model, scoring, and streams of training tasks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from specs_lab.core.seeding import python_rng
from specs_lab.models.vlm import VLM
from specs_lab.problems.sources.procedural import ProceduralProblems, Task, draw_task
from specs_lab.rewards.specs import Score, WeightedReward, score
from specs_lab.stages.context import StageContext
from specs_lab.tracking.loggers import finish_loggers
from specs_lab.training.options.trainer import TrainerOptions

MODEL = "model"
"""Name of the folder, inside an artifact, that holds a model."""


def load_model(artifact: Path, trainer: TrainerOptions) -> VLM:
    """The model of an artifact, in float32, with the vision tower frozen if the base says so."""
    torch.set_num_threads(trainer.threads)
    return VLM.load(artifact / MODEL, freeze_vision=not (artifact / "vision_is_trained").exists())


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


def scorer(reward: WeightedReward) -> Callable[[str, Task], Score]:
    """Scores responses under a reward."""

    def of(response: str, task: Task) -> Score:
        problem = task.problem
        return score(response, problem.answer, problem.answer_type, task.instruction.format, reward)

    return of


def training_tasks(problems: ProceduralProblems, mixture: list[str], stream: str) -> Callable[[int], Task]:
    """An endless stream of training tasks, each from one cell of the mixture, with equal probability."""

    def make(index: int) -> Task:
        cell = python_rng("mixture", stream, index).choice(mixture)
        return draw_task(problems, cell, "train", stream, index)

    return make
