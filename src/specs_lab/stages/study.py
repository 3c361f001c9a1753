"""Running a study: its stages in order, each taken from the store or made, and a record of how it went."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache, partial
from importlib.metadata import version
from pathlib import Path
from pkgutil import resolve_name
from types import TracebackType
from typing import Any

from specs_lab import __version__
from specs_lab.core.atomic import write_text
from specs_lab.core.disk import disk_fault
from specs_lab.core.errors import UserError
from specs_lab.core.progress import Progress
from specs_lab.core.secrets import without_secrets
from specs_lab.stages.context import JobInfo, StageContext, Study
from specs_lab.stages.describing import describe
from specs_lab.stages.graph import PlannedStage, plan
from specs_lab.stages.kinds import KINDS, StageKind
from specs_lab.stages.store import DamagedArtifact, Store, read_manifest, verify
from specs_lab.stages.supply import require_problems
from specs_lab.tracking.loggers import require_loggers
from specs_lab.tracking.rows import JOB_FILE

__all__ = ["JobInfo", "JobResult", "StageResult", "Study", "execute"]

_PACKAGES = ("torch", "transformers", "lightning", "numpy")


@dataclass(frozen=True, kw_only=True)
class StageResult:
    """Where a stage's results are.

    Attributes:
        kind: Name of its kind.
        key: Its key.
        folder: Its artifact.
        cached: Whether it was in the store already.
        seconds: Wall time that making it took, now or then.
    """

    kind: str
    key: str
    folder: Path
    cached: bool
    seconds: float


@dataclass(kw_only=True)
class JobResult:
    """How a job went; what ``job.json`` says.

    Attributes:
        info: The job.
        seed: The study's seed.
        status: ``completed``, ``failed`` or ``interrupted``.
        error: One line about what went wrong, or None.
        stages: The stages that are done, by name.
    """

    info: JobInfo
    seed: int
    status: str = "failed"
    error: str | None = None
    stages: dict[str, StageResult] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """The result as plain data."""
        return {
            "job": self.info.job,
            "name": self.info.name,
            "overrides": list(self.info.overrides),
            "arm": self.info.arm,
            "seed": self.seed,
            "status": self.status,
            "error": self.error,
            "stages": {name: {**vars(stage), "folder": str(stage.folder)} for name, stage in self.stages.items()},
        }


def execute(
    study: Study,
    job: JobInfo,
    progress: Progress,
    store: Store | None = None,
    kinds: Mapping[str, StageKind] = KINDS,
) -> JobResult:
    """Runs a study; stages that are in the store are not made again. Writes ``job.json`` however it ends.

    Args:
        study: What to run.
        job: For whom; names the folder that ``job.json`` is written to.
        progress: Where progress is reported.
        store: Where stages are kept; None for the one that ``study.paths`` names.
        kinds: The stage kinds that exist.

    Raises:
        UserError: If the recipe or the options are wrong; before any stage is run.
    """
    store = store or Store(Path(study.paths.cache), progress)
    with _Record(JobResult(info=job, seed=study.seed)) as record:
        planned = plan(study, kinds)
        missing = [stage for stage in planned if store.get(stage.kind, stage.key) is None]
        if missing and study.logger is not None:
            require_loggers(study.logger)
        require_problems(missing, progress)
        with progress.task("stages", len(planned)) as advance:
            for stage in planned:
                record.current = stage.name
                check = kinds[stage.kind].makes == "results"  # what is reported; the others are, when they are used
                _finish(stage, planned, kinds, study, record.result, progress, store, check=check)
                advance(note=stage.name)
    return record.result


def _finish(
    stage: PlannedStage,
    planned: list[PlannedStage],
    kinds: Mapping[str, StageKind],
    study: Study,
    done: JobResult,
    progress: Progress,
    store: Store,
    *,
    check: bool,
) -> None:
    """Takes a stage's artifact from the store or makes it, and with it what turns out to be damaged or lost."""
    places = {store.cache / one.kind / one.key: one for one in planned}
    healed: set[str] = set()
    while True:
        try:
            folder, made = _make(stage, kinds[stage.kind], study, done, progress, store, check=check)
            break
        except DamagedArtifact as damage:
            source = places.get(damage.folder)
            if source is None or source.name in {stage.name, *healed}:  # damaged as soon as it is made
                raise
            healed.add(source.name)
            _finish(source, planned, kinds, study, done, progress, store, check=True)
    seconds = float(read_manifest(folder)["seconds"])
    how = f"made in {seconds:.1f} s" if made else "found in the store"
    progress.message(f"{stage.name}: {how} ({stage.kind}/{stage.key})")
    done.stages[stage.name] = StageResult(
        kind=stage.kind, key=stage.key, folder=folder, cached=not made, seconds=seconds
    )


def _make(
    stage: PlannedStage,
    kind: StageKind,
    study: Study,
    done: JobResult,
    progress: Progress,
    store: Store,
    *,
    check: bool,
) -> tuple[Path, bool]:
    """The artifact of a stage whose inputs are done, and whether it was made now."""
    inputs = {name: done.stages[source] for name, source in stage.inputs.items()}

    def build(folder: Path) -> None:
        for source in inputs.values():
            verify(source.folder)
        run = resolve_name(kind.runner)  # imports what is slow to import
        run(
            StageContext(
                name=stage.name,
                kind=stage.kind,
                key=stage.key,
                folder=folder,
                inputs={name: source.folder for name, source in inputs.items()},
                options={**stage.options, "trainer": study.trainer},
                seed=stage.seed or 0,
                stream=stage.stream,
                store=store,
                progress=progress,
                loggers=partial(_loggers, study, done.info, stage, progress),
                logs=done.info.folder / "logs" / stage.name,
            )
        )

    manifest = {
        "name": stage.name,
        "options": {role: describe(option) for role, option in stage.options.items()},
        "inputs": {name: source.key for name, source in inputs.items()},
        "seed": stage.seed,
        "stream": stage.stream,
        "versions": _versions(),
    }
    return store.make(stage.kind, stage.key, build, manifest, check=check)


def _loggers(study: Study, job: JobInfo, stage: PlannedStage, progress: Progress) -> list[Any]:
    """The stage's loggers; they write to the job's folder, since an artifact must not depend on who listens."""
    if study.logger is None:
        return []
    from specs_lab.tracking.loggers import make_loggers  # imports Lightning

    folder = job.folder / "logs" / stage.name
    return make_loggers(study.logger, job, stage.name, stage.kind, stage.key, folder, progress.message)


@cache
def _versions() -> dict[str, str]:
    installed = {name: version(name) for name in _PACKAGES}
    return {"specs_lab": __version__, "python": platform.python_version(), **installed}


class _Record:
    """Writes ``job.json`` when a job ends, also by an error, which goes on.

    Attributes:
        result: What is written.
        current: The stage that is being made.
    """

    def __init__(self, result: JobResult) -> None:
        self.result = result
        self.current = "plan"
        self._path = result.info.folder / JOB_FILE

    def __enter__(self) -> _Record:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.unlink(missing_ok=True)  # of an earlier run in the same folder
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        ended = "interrupted" if isinstance(error, KeyboardInterrupt | SystemExit) else "failed"
        self.result.status = "completed" if error is None else ended
        if error is not None:
            said = " ".join(f"{self.current}: {type(error).__name__}: {error}".split())
            self.result.error = without_secrets(said)
        try:
            write_text(self._path, json.dumps(self.result.as_json(), indent=2) + "\n")
        except OSError as unwritten:
            if error is not None:
                error.add_note(f"{self._path} could not be written: {unwritten}")
                return
            fault = disk_fault(unwritten, self._path.parent, "All stages are done, and in the store")
            if fault is None:
                raise
            raise UserError([fault]) from unwritten
