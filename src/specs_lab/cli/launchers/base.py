"""What all launchers do: plan every job before the first, make command lines, show progress, report."""

from __future__ import annotations

import json
import sys
from abc import abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.utils import JobReturn, JobStatus, configure_log, filter_overrides, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from specs_lab.cli.children import LOG_NAME, Command, Outcome, Watcher
from specs_lab.cli.exits import EXIT_FAILED, exit_with
from specs_lab.cli.jobs import key_of, name_job, quoted
from specs_lab.cli.launchers.estimates import needs_of
from specs_lab.cli.progress_view import progress_view
from specs_lab.cli.reports import report
from specs_lab.cli.room import Needs
from specs_lab.cli.values import study_of
from specs_lab.core.errors import Fault, UserError, raise_faults
from specs_lab.preflight.before import stages_to_make

SWEEP_FILE = "sweep.json"
"""In the sweep's folder: which launcher ran its jobs, and how each went."""
_LOGS_SHOWN = 3
# Set by the launcher for each job, or meant for the sweep only.
_SWEEP_KEYS = (
    *("hydra.mode", "hydra.run.dir", "hydra.sweep.", "hydra.sweeper", "hydra/sweeper"),
    *("hydra.launcher", "hydra/launcher"),
)


class SweepLauncher(Launcher):
    """Runs each job as ``python -m specs_lab.run`` with the job's overrides, so that jobs share no state.

    A job that fails does not stop the others; the sweep then ends with exit code 1.
    """

    def __init__(self) -> None:
        super().__init__()
        self._outcomes: list[Outcome] = []

    @abstractmethod
    def run(self, commands: Sequence[Command], watcher: Watcher) -> list[Outcome]:
        """Runs the jobs; ends them if it is itself ended early.

        Raises:
            UserError: If they cannot be run so.
        """

    @abstractmethod
    def threads(self, needs: Sequence[Needs]) -> list[int]:
        """How many CPU threads each process of each job gets."""

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Hydra's hook: what is to be launched."""
        self._loader = hydra_context.config_loader
        self._config = config

    @property
    def folder(self) -> Path:
        """The sweep's."""
        return Path(self._config.hydra.sweep.dir).absolute()

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Hydra's hook: runs a batch of jobs.

        Args:
            job_overrides: The overrides of each job.
            initial_job_idx: Number of the first.
        """
        setup_globals()
        configure_log(self._config.hydra.hydra_logging, self._config.hydra.verbose)
        configs = [
            self._job_config(initial_job_idx + index, overrides) for index, overrides in enumerate(job_overrides)
        ]
        try:
            needs = _planned(configs)
            threads = self.threads(needs)
            commands = [self._command(*job) for job in zip(configs, job_overrides, needs, threads, strict=True)]
            with progress_view(Console(stderr=True), len(commands)) as view:
                outcomes = self.run(commands, view)
            self._outcomes += outcomes
            self._record()
            print_failures(Console(stderr=True), outcomes)
            report(self.folder, [outcome.command.folder for outcome in self._outcomes])
        except UserError as error:
            exit_with(error)  # Hydra would print a traceback
        return [
            _job_return(config, overrides, outcome)
            for config, overrides, outcome in zip(configs, job_overrides, outcomes, strict=True)
        ]

    def _job_config(self, number: int, overrides: Sequence[str]) -> DictConfig:
        """A job's configuration, whose folder is named by what is swept only."""
        fixed = sorted({key_of(item) for item in overrides} - self._swept())
        name_by_swept = [f"hydra.job.config.override_dirname.exclude_keys=[{','.join(map(quoted, fixed))}]"]
        config = self._loader.load_sweep_config(self._config, [*name_by_swept, *overrides])
        config.hydra.job.num = number
        config.hydra.job.id = str(number)
        return config

    def _swept(self) -> set[str]:
        """The keys that differ between jobs; all if none does."""
        sweeper = self._config.hydra.sweeper.get("params") or {}
        typed = OverridesParser.create(self._loader).parse_overrides(
            [f"{key}={value}" for key, value in sweeper.items()] + list(self._config.hydra.overrides.task)
        )
        swept = {key_of(str(item.input_line)) for item in typed if item.is_sweep_override()}
        return swept or {key_of(str(item.input_line)) for item in typed}

    def _command(self, config: DictConfig, overrides: Sequence[str], needs: Needs, threads: int) -> Command:
        folder = self.folder / str(config.hydra.sweep.subdir)
        job = name_job(config.hydra.job.num, filter_overrides(overrides), self._swept())
        own = [item for item in self._config.hydra.overrides.hydra if not key_of(item).startswith(_SWEEP_KEYS)]
        chosen = OmegaConf.select(config, "trainer.threads")
        if "trainer.threads" in map(key_of, overrides):
            threads = int(chosen)
        elif chosen is not None:
            own.append(f"trainer.threads={threads}")
        arguments = command_line([*self._config_flags(), *own, *overrides], folder, config.hydra.job.num)
        environment = {"OMP_NUM_THREADS": str(threads), **job.as_environment()}
        return Command(job.name, folder, arguments, environment, needs)

    def _config_flags(self) -> list[str]:
        """Hydra's own flags that say where the configuration is."""
        added = [item.path for item in self._config.hydra.runtime.config_sources if item.provider == "command-line"]
        return ["--config-name", str(self._config.hydra.job.config_name), *(f"--config-dir={path}" for path in added)]

    def _record(self) -> None:
        record = {
            "launcher": str(self._config.hydra.runtime.choices.get("hydra/launcher")),
            "jobs": [_as_json(outcome, self.folder) for outcome in self._outcomes],
        }
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / SWEEP_FILE).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def command_line(arguments: Sequence[str], folder: Path, number: int) -> list[str]:
    """The command line of a job.

    Args:
        arguments: Flags and overrides.
        folder: Where its results go.
        number: Its position in the sweep.
    """
    own = [f"hydra.run.dir={quoted(str(folder))}", f"hydra.job.num={number}"]
    return [sys.executable, "-m", "specs_lab.run", *arguments, *own]


def print_failures(console: Console, outcomes: Collection[Outcome]) -> None:
    """Names the jobs that failed, with the end of the logs of the first few."""
    failed = [outcome for outcome in outcomes if outcome.exit_code]
    for outcome in failed[:_LOGS_SHOWN]:
        log = outcome.command.folder / LOG_NAME
        lines = [f"\n{outcome.command.name}: failed with exit code {outcome.exit_code}; the end of {log}:"]
        lines += [f"  {line}" for line in outcome.last_lines()]
        console.print("\n".join(lines), markup=False, highlight=False, soft_wrap=True)
    if failed:
        names = "; ".join(outcome.command.name for outcome in failed)
        text = f"\n{len(failed)} of {len(outcomes)} jobs failed: {names}"
        console.print(text, markup=False, highlight=False, soft_wrap=True)


def plain(value: Any) -> Any:
    """A setting without OmegaConf's containers, which other libraries do not take."""
    return OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value


def _planned(configs: Sequence[DictConfig]) -> list[Needs]:
    """Plans all jobs before any is started; what each takes of a machine.

    What cannot be planned is mostly a model or a dataset that is out of reach, and would fail in every job.

    Raises:
        UserError: With all faults of all jobs.
    """
    faults: dict[Fault, None] = {}
    needs = []
    for config in configs:
        try:
            study = study_of(config)
            needs.append(needs_of(study, stages_to_make(study)))
        except UserError as error:
            faults |= dict.fromkeys(error.faults)
    raise_faults(list(faults))
    return needs


def _job_return(config: DictConfig, overrides: Sequence[str], outcome: Outcome) -> JobReturn:
    """What Hydra wants to know of a job; reading the result of one that failed ends the program with code 1."""
    failed = outcome.exit_code != 0
    result = JobReturn(
        overrides=overrides,
        cfg=config,
        hydra_cfg=OmegaConf.create({"hydra": config.hydra}),
        working_dir=str(outcome.command.folder),
        task_name=str(config.hydra.job.name),
        status=JobStatus.FAILED if failed else JobStatus.COMPLETED,
    )
    result.return_value = SystemExit(EXIT_FAILED) if failed else None
    return result


def _as_json(outcome: Outcome, sweep: Path) -> Mapping[str, Any]:
    command = outcome.command
    return {
        "name": command.name,
        "folder": command.folder.relative_to(sweep).as_posix(),
        "exit_code": outcome.exit_code,
        "seconds": round(outcome.seconds, 3),
        "estimated_memory": command.needs.memory or None,
        "starts": outcome.starts,
        "attempts": [{**asdict(one), "seconds": round(one.seconds, 3)} for one in outcome.attempts],
    }
