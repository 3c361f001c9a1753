"""A sweep as tidy tables: what notebooks, tables and figures read.

A job's folder holds ``job.json``, which names the artifact of each of its stages. An artifact that several jobs share
(the zero model, the pairs) appears once for each of them; its ``key`` says that it is one and the same.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import pandas as pd

from specs_lab.core.errors import Fault, UserError, raise_faults
from specs_lab.tracking.rows import (
    JOB_FILE,
    MEASURE_COLUMNS,
    ROW_COLUMNS,
    SAMPLE_COLUMNS,
    read_measures,
    read_rows,
    read_samples,
)

_TRACES = ("job.log", ".hydra/config.yaml")
_TAGS = ("job", "arm", "seed", "stage", "kind", "key")
STAGE_COLUMNS = (*_TAGS, "cached", "seconds", "folder")


@dataclass(frozen=True)
class StageRecord:
    """One finished stage of a job.

    Attributes:
        name: Its name in the recipe.
        kind: Its stage kind.
        key: The key of its artifact.
        folder: The artifact.
        cached: Whether the artifact was there already.
        seconds: Wall time that making it took, now or then.
    """

    name: str
    kind: str
    key: str
    folder: Path
    cached: bool
    seconds: float


@dataclass(frozen=True)
class JobRecord:
    """One job of a sweep.

    Attributes:
        folder: Its output folder, whose name names the job within the sweep.
        arm: The swept choices apart from the seed.
        seed: Its seed.
        status: Whether it ran to its end.
        error: Why it did not, in one line; empty if it did.
        stages: The stages it finished, by name.
    """

    folder: Path
    arm: str
    seed: int
    status: Literal["completed", "failed"]
    error: str = ""
    stages: Mapping[str, StageRecord] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """What the job is called within its sweep."""
        return self.folder.name

    @property
    def failed(self) -> bool:
        """Whether the job did not run to its end."""
        return self.status != "completed"


@dataclass(frozen=True)
class Sweep:
    """The jobs of a sweep, and their results as tidy tables.

    Attributes:
        jobs: In the order they were given.
        stages: A row per job and stage: job, arm, seed, stage, kind, key, cached, seconds, folder.
        rows: A row per job, stage, step, cell and metric: the same tags, then the columns of ``rows.csv``.
        samples: A row per job, stage, step, cell and task: the same tags, then columns of ``samples.parquet``.
        measures: A row per job, stage, step, cell, task and measure: the same tags, then the columns of
            ``measures.parquet``.
    """

    jobs: tuple[JobRecord, ...]
    stages: pd.DataFrame
    rows: pd.DataFrame
    samples: pd.DataFrame
    measures: pd.DataFrame

    @property
    def arms(self) -> list[str]:
        """The arms with results, in the order of the jobs."""
        return list(dict.fromkeys(job.arm for job in self.jobs if job.stages))

    @property
    def failed(self) -> list[JobRecord]:
        """The jobs that did not run to their end."""
        return [job for job in self.jobs if job.failed]


def find_jobs(sweep_dir: Path) -> list[Path]:
    """The job folders below a sweep's folder, by name; numbers in the names count as numbers.

    Jobs without ``job.json``, e.g. because they were killed, are found by their log or by the config that Hydra leaves.
    """

    def order(path: Path) -> list[tuple[int, str]]:
        return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", str(path))]

    found = {path.parents[mark.count("/")] for mark in (JOB_FILE, *_TRACES) for path in sweep_dir.rglob(mark)}
    return sorted(found, key=order)


def read_job(folder: Path) -> JobRecord:
    """Reads a job's record. A job without ``job.json`` was killed or still runs, and counts as failed without results.

    Raises:
        UserError: If ``job.json`` cannot be understood.
    """
    path = folder / JOB_FILE
    if not path.is_file():
        return JobRecord(folder, folder.name, 0, "failed", f"it was killed, or still runs: there is no {JOB_FILE}")
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        return JobRecord(
            folder=folder,
            arm=str(record["arm"]),
            seed=int(record["seed"]),
            status="completed" if record["status"] == "completed" else "failed",
            error=str(record["error"] or ""),
            stages={name: _stage(folder, name, stage) for name, stage in record["stages"].items()},
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        what = f"cannot be understood: {type(error).__name__}: {error}"
        raise UserError([Fault(str(path), what, "run the job again")]) from error


def _stage(folder: Path, name: str, record: Mapping[str, Any]) -> StageRecord:
    return StageRecord(
        name=name,
        kind=str(record["kind"]),
        key=str(record["key"]),
        folder=folder / record["folder"],
        cached=bool(record["cached"]),
        seconds=float(record["seconds"]),
    )


def load_sweep(job_dirs: Iterable[Path], sample_columns: Sequence[str] = SAMPLE_COLUMNS) -> Sweep:
    """Reads jobs and the artifacts they name; each artifact is read once.

    Args:
        job_dirs: The jobs' folders, see :func:`find_jobs`.
        sample_columns: Columns of ``samples.parquet`` to read; responses are most of its size.

    Raises:
        UserError: If a job's record or an artifact is broken or gone.
    """
    jobs = tuple(read_job(Path(folder)) for folder in job_dirs)
    raise_faults(
        [
            Fault(f"{job.name}: stage {stage.name}", f"its artifact {stage.folder} is gone", "run the sweep again")
            for job in jobs
            for stage in job.stages.values()
            if not stage.folder.is_dir()
        ]
    )
    stages = [
        (*_tags(job, stage), stage.cached, stage.seconds, str(stage.folder))
        for job in jobs
        for stage in job.stages.values()
    ]
    return Sweep(
        jobs=jobs,
        stages=pd.DataFrame(stages, columns=list(STAGE_COLUMNS)),
        rows=_gather(jobs, "rows.csv", read_rows, ROW_COLUMNS),
        samples=_gather(jobs, "samples.parquet", lambda path: read_samples(path, sample_columns), sample_columns),
        measures=_gather(jobs, "measures.parquet", read_measures, MEASURE_COLUMNS),
    )


def _tags(job: JobRecord, stage: StageRecord) -> tuple[str, str, int, str, str, str]:
    return job.name, job.arm, job.seed, stage.name, stage.kind, stage.key


def _gather(
    jobs: Sequence[JobRecord], file: str, read: Callable[[Path], pd.DataFrame], columns: Sequence[str]
) -> pd.DataFrame:
    read_once = cache(read)
    frames = []
    for job in jobs:
        for stage in job.stages.values():
            if (stage.folder / file).is_file():
                frame = read_once(stage.folder / file)
                frames.append(frame.assign(**dict(zip(_TAGS, _tags(job, stage), strict=True))))
    if not frames:
        return pd.DataFrame(columns=[*_TAGS, *columns])
    return cast("pd.DataFrame", pd.concat(frames, ignore_index=True)[[*_TAGS, *columns]])


def select(frame: pd.DataFrame, **equal: object) -> pd.DataFrame:
    """The rows in which each named column equals a value, or one of a list of values."""
    keep = np.ones(len(frame), dtype=bool)
    for column, value in equal.items():
        keep &= np.asarray(frame[column].isin(value if isinstance(value, list) else [value]))
    return cast("pd.DataFrame", frame.loc[keep])
