"""Lightning loggers of a stage: CSV files and W&B, beside the store of results, which needs neither.

W&B gets one run a stage and job: grouped by the sweep's folder, typed by the stage's kind, named by job and stage. The
run's id is made of the stage's key and the job's name, so that a stage that is run again after a failure continues its
run instead of adding another one.
"""

from __future__ import annotations

import hashlib
import netrc
import os
import socket
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol
from urllib.parse import urlsplit
from urllib.request import getproxies

from specs_lab.core.errors import Fault, UserError
from specs_lab.tracking.options.logger import LoggerOptions

if TYPE_CHECKING:
    from lightning.pytorch.loggers import Logger

WandbMode = Literal["online", "offline", "disabled"]
Tell = Callable[[str], None]
_LONGEST_TAG = 64
_WANDB_HOST = "https://api.wandb.ai"


def _say_nothing(_: str) -> None:
    """Nobody is told."""


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


def require_loggers(options: LoggerOptions) -> None:
    """Before work starts: if W&B is to be online, somebody is logged in and its server can be reached.

    Raises:
        UserError: If not.
    """
    if "wandb" not in options.kinds or not _must_be_online(options):
        return
    fix = "log in with `wandb login`, or choose logger.mode=auto or offline"
    if not logged_in(os.environ):
        raise UserError([Fault("logger", "W&B is to be online, and nobody is logged in", fix)])
    server = urlsplit(os.environ.get("WANDB_BASE_URL") or _WANDB_HOST)
    if getproxies() or not server.hostname:
        return  # it is not for this process to say how W&B gets there
    try:
        address = (server.hostname, server.port or (80 if server.scheme == "http" else 443))
        socket.create_connection(address, options.init_timeout_s).close()
    except OSError as error:
        what = f"W&B is to be online, and {server.hostname} cannot be reached ({error})"
        raise UserError(
            [Fault("logger", what, "choose logger.mode=auto or offline; `wandb sync` sends it later")]
        ) from error


def _must_be_online(options: LoggerOptions) -> bool:
    """Whether somebody asked for it, so that files are no substitute."""
    return options.mode == "online" or (options.mode == "auto" and os.environ.get("WANDB_MODE") == "online")


def make_loggers(
    options: LoggerOptions,
    job: LoggedJob,
    stage_name: str,
    kind: str,
    key: str,
    folder: Path,
    tell: Tell = _say_nothing,
) -> list[Logger]:
    """Makes the loggers of one stage. All files go to the job's folder, below ``logs``.

    Args:
        options: Which loggers.
        job: For whom the stage runs.
        stage_name: Name of the stage in the recipe.
        kind: Its kind.
        key: Its key.
        folder: Its artifact. Loggers write nothing there: an artifact does not depend on who watched it being made.
        tell: Is told, in one line each, of what W&B could not do; a stage goes on without it.

    Raises:
        UserError: If W&B's credentials cannot be read, or it is to be online and does not start.
    """
    del folder
    logs = job.folder / "logs"
    loggers: list[Logger] = []
    if "csv" in options.kinds:
        from lightning.pytorch.loggers import CSVLogger

        loggers.append(CSVLogger(logs, name=stage_name))
    if "wandb" in options.kinds:
        loggers.append(_wandb_logger(options, job, stage_name, kind, key, logs, tell))
    return loggers


def _wandb_logger(
    options: LoggerOptions, job: LoggedJob, stage_name: str, kind: str, key: str, logs: Path, tell: Tell
) -> Logger:
    from specs_lab.tracking.wandb_runs import start_run  # imports Lightning and W&B

    mode = wandb_mode(options.mode, os.environ)
    return start_run(
        options,
        "online if possible" if mode == "online" and not _must_be_online(options) else mode,
        logs,
        tell,
        id=run_id(key, job.name),
        group="/".join(job.folder.absolute().parts[-3:-1]),
        job_type=kind,
        name=f"{job.name}: {stage_name}",
        tags=_tags(options.tags, job.overrides, stage_name),
        config={"arm": job.arm, "overrides": list(job.overrides), "stage": stage_name, "kind": kind, "key": key},
    )


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
    from specs_lab.tracking.wandb_runs import SteadyWandbLogger

    for logger in loggers:
        logger.finalize("failed" if failed else "success")
        if isinstance(logger, SteadyWandbLogger):
            logger.finish(failed)


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
