"""W&B's runs, which must neither stop nor hold up what they watch: what cannot be sent is kept in files.

Without a network a run is written to the job's folder, ``logs/wandb``, from where ``wandb sync`` sends it later. A run
that loses its server while it goes on is in files too. Whatever W&B raises of its own accord while a stage runs is
told once, and nothing more is logged to that run.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import wandb
from lightning.pytorch.loggers import WandbLogger
from wandb.sdk.mailbox import HandleAbandonedError, MailboxClosedError
from wandb.sdk.mailbox.mailbox_handle import ServerResponseError

from specs_lab.core.errors import Fault, UserError
from specs_lab.core.secrets import without_secrets
from specs_lab.tracking.options.logger import LoggerOptions

Tell = Callable[[str], None]
FAILURES = (wandb.Error, HandleAbandonedError, MailboxClosedError, ServerResponseError, OSError)
"""What W&B raises when its server, or its own process, is gone."""
_LONGEST_REASON = 300
_OUT_OF_REACH: set[str] = set()
"""Servers that could not be reached in this process: the next stage does not wait for them again."""


class SteadyWandbLogger(WandbLogger):
    """Lightning's logger of a W&B run, which goes silent when W&B fails.

    Args:
        run: The run.
        logs: The folder that holds W&B's files.
        tell: Is told of a failure, in one line.
    """

    def __init__(self, run: Any, logs: Path, tell: Tell) -> None:
        super().__init__(save_dir=logs, experiment=run)
        self._run, self._logs, self._tell = run, logs, tell
        self._broken = False

    def log_metrics(self, metrics: Any, step: int | None = None) -> None:
        """Logs numbers of a step."""
        self._try(lambda: WandbLogger.log_metrics(self, metrics, step))

    def log_hyperparams(self, params: Any, *_: Any) -> None:
        """Adds to the run's configuration."""
        self._try(lambda: WandbLogger.log_hyperparams(self, params))

    def finish(self, failed: bool) -> None:
        """Ends the run, within the time that the options give it."""
        self._try(lambda: self._run.finish(exit_code=int(failed)))

    def _try(self, act: Callable[[], None]) -> None:
        if self._broken:
            return
        try:
            act()
        except FAILURES as error:
            self._broken = True
            self._tell(f"W&B failed ({reason(error)}); {_kept(self._logs, self._run.id)}")


def start_run(options: LoggerOptions, mode: str, logs: Path, tell: Tell, **about: Any) -> SteadyWandbLogger:
    """Starts a run.

    Args:
        options: The logger's.
        mode: ``online``, ``offline`` or ``disabled``; or ``online if possible``: in files where W&B is out of reach.
        logs: Where W&B's files go.
        tell: Is told of what goes another way than it was asked for, in one line each.
        about: What describes the run, as ``wandb.init`` takes it.

    Raises:
        UserError: If W&B does not start.
    """
    # What W&B tells its makers about errors holds up the end of a process for half a minute if nobody takes it.
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
    logs.mkdir(parents=True, exist_ok=True)  # else W&B warns, and writes to the system's temporary folder
    server = wandb.Settings().base_url
    lenient = mode == "online if possible"
    if lenient and server not in _OUT_OF_REACH:
        try:
            return _logger(options, "online", logs, tell, about)
        except FAILURES as error:
            _OUT_OF_REACH.add(server)
            wandb.teardown(exit_code=1)  # its process would go on trying, and holds the run's id
            tell(f"W&B cannot be reached ({reason(error)})")
    if lenient:
        tell(f"W&B goes on without a network; {_kept(logs, about['id'])}")
    try:
        return _logger(options, "offline" if lenient else mode, logs, tell, about)
    except FAILURES as error:
        fix = "log in with `wandb login`, or choose logger.mode=offline"
        raise UserError([Fault("logger", f"W&B does not start: {reason(error)}", fix)]) from error


def _logger(options: LoggerOptions, mode: Any, logs: Path, tell: Tell, about: dict[str, Any]) -> SteadyWandbLogger:
    # Not left to Lightning, which passes on an option that W&B warns about.
    run = wandb.init(
        project=options.project,
        entity=options.entity,
        dir=logs,
        resume="allow",
        reinit="finish_previous",  # never into the run of another stage
        mode=mode,
        settings=wandb.Settings(
            silent=True,
            console="off",  # what a stage prints stays here
            disable_git=True,  # the address of a repository may hold a token
            save_code=False,
            init_timeout=options.init_timeout_s,
            finish_timeout=options.finish_timeout_s,
            finish_timeout_raises=True,
        ),
        **about,
    )
    run.define_metric("trainer/global_step")
    run.define_metric("*", step_metric="trainer/global_step", step_sync=True)
    return SteadyWandbLogger(run, logs, tell)


def reason(error: BaseException) -> str:
    """What W&B says went wrong, in one line, without secrets."""
    return without_secrets(" ".join(str(error).split()) or type(error).__name__)[:_LONGEST_REASON]


def _kept(logs: Path, run: str) -> str:
    return f"the run is kept in files, to be sent by: wandb sync --include-online {logs}/wandb/*run-*-{run}"
