"""Stage `explore`: many responses of the input model to each problem, and what they say about its exploration."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from specs_lab.core.budget import Budget
from specs_lab.evaluation.exploration import Explored, Explorer
from specs_lab.evaluation.suites.base import Suite
from specs_lab.evaluation.suites.sampled import SampledSuite
from specs_lab.metrics.exploration import measures
from specs_lab.rewards.scoring import VERDICT
from specs_lab.stages.common import journal_of, load_model, open_loggers
from specs_lab.stages.context import StageContext
from specs_lab.stages.scoring import judge_of, require_golds
from specs_lab.tracking.rows import RowWriter, write_measures

RESPONSES = "responses.parquet"
"""Every response, for notebooks and for `specs-lab rescore`: task_id, cell, k, response, correct, format, extracted,
length (tokens), answer (the right one), and ``tracking.rows.RESCORE_COLUMNS``."""


def run(context: StageContext) -> None:
    """Writes ``measures.parquet`` (a value per problem and measure), their means as rows, and all responses.

    Raises:
        UserError: If a gold answer cannot be used.
    """
    suite: SampledSuite = context.options["exploration"]
    measured: Suite = context.options["suite"]
    trainer = context.options["trainer"]
    vlm = load_model(context, "model")
    explorer = Explorer(
        suite,
        context.options["problems"],
        batch_size=trainer.sample_batch_size,
        micro_batch_tokens=trainer.micro_batch_tokens,
        score=partial(measured.score, judge=judge_of(context)),
        measured=measured,
    )
    graded = measured.graded(explorer.tasks)
    require_golds(context, graded, len(graded))
    explored: list[Explored] = []
    with context.progress.task(f"{context.name}: problems", len(explorer.tasks)) as advance:
        for part in explorer.explore(vlm, journal_of(context, "answers")):
            explored += part
            advance(len(part))
    found = _long(explored, suite)
    write_measures(context.folder / "measures.parquet", found)
    _write_responses(context.folder / RESPONSES, explored, measured)
    _report(context, found, Budget(vlm.forward_parameters))


def _long(explored: Sequence[Explored], suite: SampledSuite) -> list[dict[str, Any]]:
    """A mapping per problem and measure."""
    ks = suite.measured_ks()
    return [
        {"step": 0, "cell": one.task.cell, "task_id": one.task.id, "metric": metric, "value": value}
        for one in explored
        for metric, value in measures(one.answered, ks, suite.group_size).items()
    ]


def _report(context: StageContext, found: Sequence[Mapping[str, Any]], budget: Budget) -> None:
    """Writes and logs the mean of each measure over the problems that have a value."""
    values: dict[tuple[str, str], list[float]] = {}
    for one in found:
        known = values.setdefault((one["cell"], one["metric"]), [])
        if not math.isnan(one["value"]):
            known.append(one["value"])
    means = {key: sum(known) / len(known) if known else math.nan for key, known in values.items()}
    with RowWriter(context.folder / "rows.csv") as rows:
        for (cell, metric), mean in means.items():
            n = len(values[cell, metric])
            rows.add(step=0, cell=cell, metric=metric, value=mean, n=n, budget=budget)
    logged = {f"explore/{cell}/{metric}": mean for (cell, metric), mean in means.items() if not math.isnan(mean)}
    with open_loggers(context) as loggers:
        for logger in loggers:
            logger.log_metrics(logged, step=0)


def _write_responses(path: Path, explored: Sequence[Explored], measured: Suite) -> None:
    import pandas as pd

    responses = [
        {
            "task_id": one.task.id,
            "cell": one.task.cell,
            "k": k,
            "response": one.answered.texts[k],
            "correct": score.accuracy,
            "format": score.format,
            "extracted": score.extracted,
            "length": one.answered.lengths[k],
            "answer": one.task.problem.answer,
            "kind": score.kind,
            "score": score.terms.get(VERDICT, float(score.accuracy)),
            **stored,
        }
        for one in explored
        for stored in [measured.stored(one.task)]
        for k, score in enumerate(one.scores)
    ]
    pd.DataFrame(responses).to_parquet(path, index=False, compression="zstd")
