"""What a sweep found: ``summary.csv``, ``summary.json`` and figures in its folder, and a table in the terminal.

Needs neither torch nor a model: it reads what the jobs' stages wrote.
"""

from __future__ import annotations

import json
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from specs_lab.metrics.statistics import INTERVAL, RESAMPLES
from specs_lab.tracking.estimates import EQUAL_COMPUTE, EQUAL_STEPS, EVALUATION, Curves, Estimator, line_up, step_point
from specs_lab.tracking.exploration import Crossing, estimate_exploration
from specs_lab.tracking.exploration import as_json as crossings_as_json
from specs_lab.tracking.exploration_figures import draw_passk
from specs_lab.tracking.figures import draw_curves, draw_rl
from specs_lab.tracking.frames import StageRecord, Sweep, load_sweep, select
from specs_lab.tracking.scores import (
    ALL_ARMS,
    BASE_STAGE,
    RL_STAGE,
    SCORE_COLUMNS,
    ZERO_STAGE,
    Reading,
    Scores,
    collect,
    read_mixture,
    read_reading,
    read_shortfall,
)
from specs_lab.tracking.tables import print_summary, step_label
from specs_lab.tracking.training_figures import draw_margins, draw_training
from specs_lab.tracking.training_metrics import training_estimates, training_table

__all__ = ["Summary", "estimate", "print_summary", "summarise"]

_ENOUGH_SEEDS = 6  # from here on Student's t is within a third of the normal quantile


@dataclass(frozen=True)
class Summary:
    """What a sweep found.

    Attributes:
        folder: The sweep's folder.
        sweep: Its jobs, and their results in full.
        table: A row per estimate; columns are the fields of :class:`specs_lab.tracking.estimates.Estimate`.
        readings: How each arm's evaluations are read.
        mixtures: The cells that each arm's final RL drew its training prompts from, where that is recorded.
        curves: Its cold starts and where they are compared.
        notes: What a reader has to know.
        crossings: Where curves of pass@k cross.
    """

    folder: Path
    sweep: Sweep
    table: pd.DataFrame
    readings: dict[str, Reading]
    mixtures: dict[str, tuple[str, ...]]
    curves: Curves
    notes: tuple[str, ...]
    crossings: tuple[Crossing, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """The summary as plain data; undefined numbers are None."""
        table = self.table.astype(object).where(self.table.notna(), None)
        return {
            "interval": INTERVAL,
            "readings": {arm: asdict(reading) for arm, reading in self.readings.items()},
            "rl_cells": {arm: list(cells) for arm, cells in self.mixtures.items()},
            "equal_steps": list(self.curves.steps),
            "equal_compute_flops": self.curves.flops,
            "crossings": crossings_as_json(self.crossings),
            "notes": list(self.notes),
            "jobs": [
                {"name": job.name, "arm": job.arm, "seed": job.seed, "status": job.status, "error": job.error}
                for job in self.sweep.jobs
            ],
            "estimates": table.to_dict(orient="records"),
        }


def summarise(
    sweep_dir: Path, job_dirs: Sequence[Path], *, steps: Sequence[int] = (), notes: Sequence[str] = ()
) -> Summary:
    """Reads a sweep's jobs and writes what they found into the sweep's folder.

    Writes ``summary.csv``, ``summary.json``, ``training.csv`` (training metrics step by step) and, where there is
    something to draw, the figures ``curves``, ``rl``, ``training``, ``margins`` and ``passk``, each as PNG and SVG.

    Args:
        sweep_dir: The sweep's folder.
        job_dirs: Its jobs' folders.
        steps: Cold-start steps to compare arms at; by default the last one that all arms evaluated.
        notes: What else a reader has to know, said first.

    Raises:
        UserError: If a job's record or an artifact is broken or gone.
    """
    sweep = load_sweep(job_dirs, SCORE_COLUMNS)
    summary = estimate(Path(sweep_dir), sweep, steps)
    summary = replace(summary, notes=(*notes, *summary.notes))
    summary.folder.mkdir(parents=True, exist_ok=True)
    summary.table.to_csv(summary.folder / "summary.csv", index=False, float_format="%.8g")
    text = json.dumps(summary.as_json(), indent=1, allow_nan=False)
    (summary.folder / "summary.json").write_text(text + "\n", encoding="utf-8")
    training_table(sweep.rows).to_csv(summary.folder / "training.csv", index=False, float_format="%.8g")
    draw_curves(summary.table, summary.readings, summary.folder / "curves")
    arms = list(summary.readings)
    draw_rl(sweep.rows, summary.folder / "rl", among=arms)
    draw_training(sweep.rows, summary.folder / "training", among=arms)
    draw_passk(summary.table, summary.crossings, summary.folder / "passk", among=arms)
    draw_margins(sweep.rows, summary.folder / "margins", among=arms)
    return summary


def estimate(folder: Path, sweep: Sweep, steps: Sequence[int] = (), resamples: int = RESAMPLES) -> Summary:
    """Estimates everything that a sweep measured.

    Args:
        folder: The sweep's folder.
        sweep: Its jobs.
        steps: Cold-start steps to compare arms at.
        resamples: Bootstrap resamples.
    """
    readings = {arm: reading for arm in sweep.arms if (reading := _reading(sweep, arm)) is not None}
    evaluated = [scores for arm in readings for scores in _scores(sweep, arm, readings[arm])]
    curves = line_up([scores for scores in evaluated if scores.kind == "coldstart"], steps)
    estimator, shared = Estimator(resamples), _shared(sweep, readings)
    for scores in [*shared, *(one for one in evaluated if one.stage not in {two.stage for two in shared})]:
        base = _find(evaluated, scores.arm, BASE_STAGE) or _find(shared, ALL_ARMS, BASE_STAGE)
        if scores.kind == "coldstart":
            # Without an evaluation of its own, the base model is what the cold start started from.
            base = base or (scores if scores.steps[0] == 0 else None)
            estimator.add(scores, base, curves.points(scores))
        else:
            gains_over = None if scores.stage == BASE_STAGE else base
            estimator.add(scores, gains_over, [step_point(EVALUATION, scores, int(scores.steps[-1]))])
    training, apart = training_estimates(sweep.rows)
    exploration = estimate_exploration(sweep, resamples)
    table = estimator.table([*exploration.estimates, *training])
    notes = (
        *curves.notes,
        *estimator.notes(),
        *exploration.notes,
        *apart,
        *_undefined(table),
        *_notes(sweep, evaluated),
    )
    return Summary(folder, sweep, table, readings, _mixtures(sweep), curves, notes, exploration.crossings)


def _reading(sweep: Sweep, arm: str) -> Reading | None:
    """How an arm's evaluations are read; its jobs differ in the seed only, so any of them tells."""
    stages: Iterable[StageRecord] = (stage for job in sweep.jobs if job.arm == arm for stage in job.stages.values())
    found = (read_reading(stage.folder) for stage in stages if (stage.folder / "samples.parquet").is_file())
    return next((reading for reading in found if reading is not None), None)


def _mixtures(sweep: Sweep) -> dict[str, tuple[str, ...]]:
    """What each arm's final RL was trained on; its jobs differ in the seed only, so any of them tells."""
    artifacts = {job.arm: job.stages[RL_STAGE].folder for job in sweep.jobs if RL_STAGE in job.stages}
    mixtures = {arm: read_mixture(folder) for arm, folder in artifacts.items()}
    return {arm: cells for arm, cells in mixtures.items() if cells}


def _scores(sweep: Sweep, arm: str, reading: Reading) -> list[Scores]:
    samples, rows = select(sweep.samples, arm=arm), select(sweep.rows, arm=arm)
    stages = list(dict.fromkeys(samples["stage"]))
    found = (collect(select(samples, stage=stage), select(rows, stage=stage), arm, reading) for stage in stages)
    return [scores for scores in found if scores is not None]


def _find(evaluated: Sequence[Scores], arm: str, stage: str) -> Scores | None:
    return next((one for one in evaluated if one.arm == arm and one.stage == stage), None)


def _shared(sweep: Sweep, readings: dict[str, Reading]) -> list[Scores]:
    """The base and zero models, where all arms share them: they are then reported once instead of once for each arm."""
    shared = []
    for stage in (BASE_STAGE, ZERO_STAGE):
        artifacts = select(sweep.stages, stage=stage)[["seed", "key"]].drop_duplicates()
        if len(artifacts) and artifacts["seed"].is_unique and len(set(readings.values())) == 1:
            samples, rows = select(sweep.samples, stage=stage), select(sweep.rows, stage=stage)
            scores = collect(samples, rows, ALL_ARMS, next(iter(readings.values())))
            shared += [] if scores is None else [scores]
    return shared


def _undefined(table: pd.DataFrame) -> list[str]:
    """Why a Generalization Factor that the terminal shows is undefined, with the gain that is negative."""
    shown = select(table, versus="", at=[EQUAL_STEPS, EQUAL_COMPUTE])
    return [
        f"{row['metric']} of {row['arm']} at {_place(row)} is undefined: {row['note']}"
        for row in shown.to_dict(orient="records")
        if row["note"]
    ]


def _place(row: Mapping[Hashable, Any]) -> str:
    return step_label(row["step"]) if row["at"] == EQUAL_STEPS else row["at"]


def _notes(sweep: Sweep, evaluated: Sequence[Scores]) -> list[str]:
    """What weakens the evidence: failed jobs, missing pairs, and arms with few seeds."""
    notes = [f"job {job.name} failed: {job.error}" for job in sweep.failed]
    for _, users in select(sweep.stages, kind="construct").groupby("key", sort=False):
        if short := read_shortfall(Path(users["folder"].iloc[0])):
            arms = ", ".join(dict.fromkeys(users["arm"]))
            notes.append(f"{arms}, seed {users['seed'].iloc[0]}: only {short} could be made")
    arms = [one for one in evaluated if one.stage not in (BASE_STAGE, ZERO_STAGE)]
    fewest: dict[str, int] = {}
    for one in arms:
        fewest[one.arm] = min(one.seeds, fewest.get(one.arm, one.seeds))
    few = [f"{arm} ({seeds})" for arm, seeds in fewest.items() if 1 < seeds < _ENOUGH_SEEDS]
    if single := [arm for arm, seeds in fewest.items() if seeds == 1]:
        notes.append(f"one seed only for {', '.join(single)}: the intervals cover problems, not seeds")
    if few:
        notes.append(f"few seeds make wide intervals: {', '.join(few)}")
    return notes
