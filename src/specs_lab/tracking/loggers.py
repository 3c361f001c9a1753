"""Lightning loggers of a stage: CSV files and W&B, beside the store of results, which needs neither.

W&B gets one run a stage and job: grouped by the sweep's folder, typed by the stage's kind, named by job and stage. The
run's id is made of the stage's key and the job's name, so that a stage that is run again after a failure continues its
run instead of adding another one.
"""

from __future__ import annotations

import hashlib
import netrc
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol
from urllib.parse import urlsplit

from specs_lab.core.errors import Fault, UserError
from specs_lab.tracking.options.logger import LoggerOptions

if TYPE_CHECKING:
    from lightning.pytorch.loggers import Logger

WandbMode = Literal["online", "offline", "disabled"]
_LONGEST_TAG = 64
_WANDB_HOST = "https://api.wandb.ai"


class LoggedJob(Protocol):
    """What loggers need to know of a job; :class:`specs_lab.stages.context.JobInfo` is one."""

    @property
    def folder(self) -> Path:
        """Its output folder."""
        ...

    @property
    def name(self) -> str:
        """Its name, for people; differs between the jobs of a sweep."""
        ...

    @property
    def arm(self) -> str:
        """The swept choices apart from the seed."""
        ...

    @property
    def overrides(self) -> list[str]:
        """The overrides that it was started with."""
        ...


def make_loggers(
    options: LoggerOptions, job: LoggedJob, stage_name: str, kind: str, key: str, folder: Path
) -> list[Logger]:
    """Makes the loggers of one stage. All files go to the job's folder, below ``logs``.

    Args:
        options: Which loggers.
        job: For whom the stage runs.
        stage_name: Name of the stage in the recipe.
        kind: Its kind.
        key: Its key.
        folder: Its artifact. Loggers write nothing there: an artifact does not depend on who watched it being made.

    Raises:
        UserError: If W&B's credentials cannot be read.
    """
    del folder
    logs = job.folder / "logs"
    loggers: list[Logger] = []
    if "csv" in options.kinds:
        from lightning.pytorch.loggers import CSVLogger

        loggers.append(CSVLogger(logs, name=stage_name))
    if "wandb" in options.kinds:
        loggers.append(_wandb_logger(options, job, stage_name, kind, key, logs))
    return loggers


def _wandb_logger(options: LoggerOptions, job: LoggedJob, stage_name: str, kind: str, key: str, logs: Path) -> Logger:
    import wandb
    from lightning.pytorch.loggers import WandbLogger

    logs.mkdir(parents=True, exist_ok=True)  # else W&B warns, and writes to the system's temporary folder
    try:
        # Not left to Lightning, which passes on an option that W&B warns about.
        run = wandb.init(
            project=options.project,
            entity=options.entity,
            dir=logs,
            id=run_id(key, job.name),
            resume="allow",
            reinit="finish_previous",  # never into the run of another stage
            group="/".join(job.folder.absolute().parts[-3:-1]),
            job_type=kind,
            name=f"{job.name}: {stage_name}",
            tags=_tags(options.tags, job.overrides, stage_name),
            config={"arm": job.arm, "overrides": list(job.overrides), "stage": stage_name, "kind": kind, "key": key},
            mode=wandb_mode(options.mode, os.environ),
            settings=wandb.Settings(silent=True, console="off"),
        )
    except wandb.Error as error:
        fix = "log in with `wandb login`, or choose logger.mode=offline"
        raise UserError([Fault("logger", f"W&B does not start: {error}", fix)]) from error
    run.define_metric("trainer/global_step")
    run.define_metric("*", step_metric="trainer/global_step", step_sync=True)
    return WandbLogger(save_dir=logs, experiment=run)


def _tags(chosen: Sequence[str], overrides: Sequence[str], stage_name: str) -> list[str]:
    """Tags of a run; W&B refuses long ones, and the configuration has the overrides in full."""
    return [tag for tag in dict.fromkeys([*chosen, *overrides, stage_name]) if len(tag) <= _LONGEST_TAG]


def finish_loggers(loggers: Sequence[Logger], failed: bool) -> None:
    """Writes out what is buffered and closes W&B's run, as failed if the stage failed.

    W&B runs otherwise stay open until the process ends, take in the next stage's metrics, and show a failure as
    finished.

    Args:
        loggers: What :func:`make_loggers` made.
        failed: Whether the stage failed.
    """
    if not loggers:
        return
    from lightning.pytorch.loggers import WandbLogger

    for logger in loggers:
        logger.finalize("failed" if failed else "success")
    if any(isinstance(logger, WandbLogger) for logger in loggers):
        import wandb

        wandb.finish(exit_code=int(failed))


def run_id(*parts: str) -> str:
    """A W&B run id that depends on its parts only."""
    return hashlib.sha256("\x1f".join(parts).encode()).hexdigest()[:16]


def wandb_mode(mode: str, environment: Mapping[str, str]) -> WandbMode:
    """What W&B is to do: as told, or for ``auto`` as ``WANDB_MODE`` says, else online exactly if logged in.

    Args:
        mode: ``auto``, ``online``, ``offline`` or ``disabled``.
        environment: The environment's variables.

    Raises:
        UserError: If the credentials file cannot be read.
    """
    known: dict[str, WandbMode] = {"online": "online", "offline": "offline", "disabled": "disabled"}
    known["dryrun"] = "offline"  # what W&B used to call it
    if mode in known:
        return known[mode]
    told = environment.get("WANDB_MODE", "")
    if told in known:
        return known[told]
    return "online" if logged_in(environment) else "offline"


def logged_in(environment: Mapping[str, str]) -> bool:
    """Whether W&B has credentials, in the environment or in the netrc file; asks nobody.

    Args:
        environment: The environment's variables.

    Raises:
        UserError: If the netrc file cannot be understood.
    """
    if environment.get("WANDB_API_KEY") or environment.get("WANDB_IDENTITY_TOKEN_FILE"):
        return True
    path = Path(environment.get("NETRC") or "~/.netrc").expanduser()
    if not path.is_file():
        return False
    host = urlsplit(environment.get("WANDB_BASE_URL") or _WANDB_HOST).netloc
    try:
        return host in netrc.netrc(path).hosts
    except (netrc.NetrcParseError, OSError) as error:
        fix = "mend the file, or choose logger.mode=offline"
        raise UserError([Fault(str(path), f"cannot be read for W&B's credentials: {error}", fix)]) from error
