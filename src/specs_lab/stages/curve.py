"""Measurements along training: ID and OOD performance against steps and compute."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from lightning import Callback, LightningModule, Trainer

from specs_lab.core.budget import Budget
from specs_lab.core.journal import Journal, make_anew
from specs_lab.core.progress import Progress
from specs_lab.evaluation.runner import Evaluator, Sample, cell_means
from specs_lab.evaluation.suites.base import Suite
from specs_lab.metrics.generalization_factor import generalization_factor
from specs_lab.rewards.scoring import VERDICT
from specs_lab.stages.common import journal_of
from specs_lab.stages.context import StageContext
from specs_lab.tracking.rows import RowWriter, write_samples
from specs_lab.training.base import TrainingModule
from specs_lab.training.distributed import world_size

_TAKES_LONG = 100_000
"""Tokens: an evaluation that may sample so many is worth a line of its own."""


class Measurements:
    """Writes evaluations to a stage's ``rows.csv`` and, when closed, ``samples.parquet``.

    Args:
        folder: The stage's folder.
        suite: What is measured.
        work: Where evaluations are kept for a run that goes on; None: nowhere.
        step: The step after which this run goes on; rows up to there are written, samples are taken from ``work``.
    """

    def __init__(self, folder: Path, suite: Suite, *, work: Path | None = None, step: int = 0) -> None:
        self._folder = folder
        self._suite = suite
        self.rows = RowWriter(folder / "rows.csv")
        self._samples: list[dict[str, Any]] = []
        self._journal = Journal(work / "evaluations") if work else None
        for done in sorted(int(key) for key in self._journal or () if step and int(key) <= step):
            self._keep(done, {})

    def __enter__(self) -> Measurements:
        self.rows.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.rows.__exit__(kind, error, trace)
        if error is None:
            write_samples(self._folder / "samples.parquet", self._samples)

    def add(self, step: int, samples: Sequence[Sample], budget: Budget) -> dict[tuple[str, str], float]:
        """Writes one evaluation; returns {(cell, metric): mean}."""
        means = {**cell_means(samples), **self._suite.summaries(samples)}
        for (cell, metric), (value, n) in means.items():
            self.rows.add(step=step, cell=cell, metric=metric, value=value, n=n, budget=budget)
        samples_of_step = [
            {
                "step": step,
                "cell": sample.task.cell,
                "task_id": sample.task.id,
                "family": sample.task.problem.family,
                "style": sample.task.problem.style,
                "instruction": sample.task.instruction.name,
                "response": sample.response,
                "answer": sample.task.problem.answer,
                "kind": sample.score.kind,
                "extracted": sample.score.extracted,
                "format": sample.score.format,
                "accuracy": sample.score.accuracy,
                "truncated": sample.truncated,
                "score": sample.score.terms.get(VERDICT, float(sample.score.accuracy)),
                **self._suite.stored(sample.task),
            }
            for sample in samples
        ]
        self._keep(step, {"samples": samples_of_step, "files": self._suite.files(samples)})
        return {key: value for key, (value, _) in means.items()}

    def _keep(self, step: int, evaluation: dict[str, Any]) -> None:
        """Takes an evaluation in, from the journal if that has it."""
        if self._journal is not None:
            evaluation = self._journal(str(step), lambda: evaluation)
        self._samples += evaluation["samples"]
        for name, content in evaluation["files"].items():
            (self._folder / name).write_text(json.dumps(content, indent=1, ensure_ascii=False), encoding="utf-8")


def log_evaluation(loggers: Sequence[Any], means: Mapping[tuple[str, str], float], suite: Suite, step: int) -> None:
    """Sends an evaluation, with its Generalization Factors (raw), to Lightning loggers.

    Args:
        loggers: The loggers.
        means: {(cell, metric): mean}.
        suite: Says which cells make the factor.
        step: Optimizer steps taken.
    """
    logged = {f"eval/{cell}/{metric}": value for (cell, metric), value in means.items()}
    for metric in ("format", "joint"):
        inside, outside = means[suite.gf_id, metric], means[suite.gf_ood, metric]
        logged[f"eval/gf_{metric}"] = float(generalization_factor(inside, outside, beta=suite.gf_beta))
    for logger in loggers:
        logger.log_metrics(logged, step=step)


class CurveCallback(Callback):
    """Evaluates the model before training, after every ``every`` steps, and at the end.

    Args:
        evaluator: What is measured.
        measurements: Where it is written.
        every: Steps between evaluations.
        suite: Says which cells make the Generalization Factor that is sent to the loggers.
        context: The stage.
        done: Steps after which training goes on; what was due until then has been measured.
    """

    def __init__(
        self,
        evaluator: Evaluator,
        measurements: Measurements,
        every: int,
        suite: Suite,
        context: StageContext,
        done: int = 0,
    ) -> None:
        self._evaluator, self._measurements, self._every, self._suite = evaluator, measurements, every, suite
        self._progress = context.progress if evaluator.most_tokens >= _TAKES_LONG else Progress()
        self._name = f"{context.name}: evaluation"
        self._done = done
        # Several ranks answer together, and would have to agree on what each of them remembers.
        self._recall = journal_of(context, "answers") if world_size() == 1 else make_anew

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Lightning's hook: step 0, the base model."""
        if not self._done:
            self._measure(trainer, pl_module, 0)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Lightning's hook: after a step."""
        step = batch_idx + 1
        if step % self._every == 0 or step == trainer.num_training_batches:
            self._measure(trainer, pl_module, step)

    def _measure(self, trainer: Trainer, module: LightningModule, step: int) -> None:
        if not isinstance(module, TrainingModule):
            raise TypeError(f"{type(module).__name__} is no TrainingModule")
        with self._progress.task(f"{self._name} at step {step}", len(self._evaluator.tasks)) as advance:
            samples = self._evaluator(module.vlm, advance, recall=self._recall, name=str(step))
        means = self._measurements.add(step, samples, module.budget)
        log_evaluation(trainer.loggers, means, self._suite, step)
