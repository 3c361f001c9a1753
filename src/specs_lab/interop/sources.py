"""What is exported: a stage of a job, of a sweep's job, or an artifact, with the jobs that measured it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from specs_lab.core.errors import Fault, UserError, suggest
from specs_lab.interop.lineage import facts_of
from specs_lab.stages.kinds import KINDS
from specs_lab.stages.store import MANIFEST
from specs_lab.tracking.frames import JobRecord, find_jobs, read_job


@dataclass(frozen=True)
class Source:
    """A model to export.

    Attributes:
        artifact: The folder of the stage that made it.
        name: What to call it.
        jobs: Folders of the jobs whose results belong to it; empty if it is not known who measured it.
    """

    artifact: Path
    name: str
    jobs: tuple[Path, ...] = ()


def find_source(folder: Path, stage: str | None = None, job: str | None = None) -> Source:
    """The model that a folder stands for.

    Args:
        folder: A stage's artifact, a job's folder, or a sweep's.
        stage: Name of the stage; by default the last of the job that made a model.
        job: Which job of a sweep, by the name of its folder or by its arm.

    Raises:
        UserError: If there is no such folder, job or stage, several could be meant, the stage made no model, or the
            job did not run to its end and no stage is named: an earlier model must not pass for what it was to train.
    """
    if (folder / MANIFEST).is_file():
        return _artifact(folder, stage, job)
    jobs = find_jobs(folder) if folder.is_dir() else []
    if not jobs:
        fix = "give the folder of a job, of a sweep, or of a finished stage"
        raise UserError([Fault(str(folder), "there is no job and no finished stage in it", fix)])
    record = _choose(folder, [read_job(one) for one in jobs], job)
    made = {name: one for name, one in record.stages.items() if KINDS[one.kind].makes == "model"}
    if not made:
        what = f"no stage of it made a model{f' ({record.error})' if record.error else ''}"
        raise UserError([Fault(str(record.folder), what, "run it to its end, or give another job")])
    if stage is None and record.failed:
        fix = f"run it to its end, or name what it did make by --stage: {', '.join(made)}"
        raise UserError([Fault(str(record.folder), f"did not run to its end ({record.error})", fix)])
    name = stage or list(made)[-1]
    if name not in made:
        raise UserError([Fault("--stage", f"no stage '{name}' of the job made a model", suggest(name, made))])
    if not made[name].folder.is_dir():
        fix = "run the study again: what is in the store is not made anew"
        raise UserError([Fault(str(record.folder), f"the artifact of stage {name} is gone", fix)])
    same_arm = tuple(one for one in jobs if read_job(one).arm == record.arm)
    return Source(made[name].folder, f"{record.arm or record.name} {name}".strip(), same_arm)


def _artifact(folder: Path, stage: str | None, job: str | None) -> Source:
    given = [name for name, value in (("--stage", stage), ("--job", job)) if value is not None]
    if given:
        what, fix = f"{folder} is a finished stage itself", "leave the option out, or give the folder of a job"
        raise UserError([Fault(name, what, fix) for name in given])
    facts = facts_of(folder)
    if facts.kind not in KINDS or KINDS[facts.kind].makes != "model":
        fix = "give a stage that makes a model: " + ", ".join(k for k, v in KINDS.items() if v.makes == "model")
        raise UserError([Fault(str(folder), f"is a stage of kind '{facts.kind}', which makes no model", fix)])
    return Source(folder, f"{facts.name} {facts.key}")


def _choose(folder: Path, jobs: Sequence[JobRecord], wanted: str | None) -> JobRecord:
    fitting = [job for job in jobs if wanted is None or wanted in (job.name, job.arm)]
    if len(fitting) == 1:
        return fitting[0]
    names = ", ".join(job.name for job in jobs)
    if not fitting:
        raise UserError([Fault("--job", f"there is no '{wanted}' in {folder}", f"the sweep has: {names}")])
    what = f"{len(fitting)} jobs could be meant"
    raise UserError([Fault("--job" if wanted else str(folder), what, f"name one by --job: {names}")])
