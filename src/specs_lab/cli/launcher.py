"""Hydra launcher `processes`: every job of a sweep in a process of its own, several side by side."""

from __future__ import annotations

import os
import sys
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn, JobStatus, configure_log, filter_overrides, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from specs_lab.cli.children import LOG_NAME, Command, Outcome, run_side_by_side
from specs_lab.cli.exits import EXIT_FAILED, exit_with
from specs_lab.cli.jobs import key_of, name_job, quoted
from specs_lab.cli.progress_view import progress_view
from specs_lab.cli.reports import report
from specs_lab.cli.values import study_of
from specs_lab.core.errors import Fault, UserError, raise_faults
from specs_lab.preflight.before import stages_to_make

_LOGS_SHOWN = 3
_NAMESPACE = "hydra_plugins"
_PLUGIN_MODULE = f"{_NAMESPACE}.specs_lab"
# Set by the launcher for each job, or meant for the sweep only.
_SWEEP_KEYS = ("hydra.mode", "hydra.run.dir", "hydra.sweep.", "hydra.sweeper", "hydra/sweeper", "hydra.launcher")


@dataclass
class ProcessLauncherConfig:
    """Settings of the launcher.

    Attributes:
        n_jobs: Jobs at a time; None: as many as cores, or one if jobs use a GPU.
    """

    _target_: str = f"{_PLUGIN_MODULE}.ProcessLauncher"
    n_jobs: int | None = None


class ProcessLauncher(Launcher):
    """Runs each job as ``python -m specs_lab.run`` with the job's overrides, so that jobs share no state.

    The cores are divided among the jobs that run side by side. A job that fails does not stop the others; the sweep
    then ends with exit code 1.

    Args:
        n_jobs: See :class:`ProcessLauncherConfig`.
    """

    def __init__(self, n_jobs: int | None = None) -> None:
        super().__init__()
        self._n_jobs = n_jobs
        self._outcomes: list[Outcome] = []

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Hydra's hook: what is to be launched."""
        self._loader = hydra_context.config_loader
        self._config = config

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
        _require_plans(configs)
        cores = available_cores()
        n_jobs = self._n_jobs or (cores if all(map(_on_cpu, configs)) else 1)
        n_jobs = min(n_jobs, len(configs))
        commands = [
            self._command(config, overrides, max(1, cores // n_jobs))
            for config, overrides in zip(configs, job_overrides, strict=True)
        ]
        with progress_view(Console(stderr=True), len(commands)) as view:
            outcomes = run_side_by_side(commands, n_jobs, view)
        self._outcomes += outcomes
        print_failures(Console(stderr=True), outcomes)
        try:
            folder = Path(self._config.hydra.sweep.dir).absolute()
            report(folder, [outcome.command.folder for outcome in self._outcomes])
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

    def _command(self, config: DictConfig, overrides: Sequence[str], cores: int) -> Command:
        folder = Path(config.hydra.sweep.dir).absolute() / str(config.hydra.sweep.subdir)
        job = name_job(config.hydra.job.num, filter_overrides(overrides), self._swept())
        own = [item for item in self._config.hydra.overrides.hydra if not key_of(item).startswith(_SWEEP_KEYS)]
        threads = OmegaConf.select(config, "trainer.threads")
        if threads is not None and "trainer.threads" not in map(key_of, overrides):
            own.append(f"trainer.threads={cores}")
        arguments = [
            *(sys.executable, "-m", "specs_lab.run", *self._config_flags()),
            *(*own, *overrides),
            *(f"hydra.run.dir={quoted(str(folder))}", f"hydra.job.num={config.hydra.job.num}"),
        ]
        return Command(job.name, folder, arguments, {"OMP_NUM_THREADS": str(cores), **job.as_environment()})

    def _config_flags(self) -> list[str]:
        """Hydra's own flags that say where the configuration is."""
        added = [item.path for item in self._config.hydra.runtime.config_sources if item.provider == "command-line"]
        return ["--config-name", str(self._config.hydra.job.config_name), *(f"--config-dir={path}" for path in added)]


def available_cores() -> int:
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


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


def _require_plans(configs: Sequence[DictConfig]) -> None:
    """Plans all jobs before any is started; ends the program if that cannot be done.

    What cannot be planned is mostly a model or a dataset that is out of reach, and would fail in every job.
    """
    faults: dict[Fault, None] = {}
    for config in configs:
        try:
            stages_to_make(study_of(config))
        except UserError as error:
            faults |= dict.fromkeys(error.faults)
    try:
        raise_faults(list(faults))
    except UserError as error:
        exit_with(error)  # Hydra would print a traceback


def _on_cpu(config: DictConfig) -> bool:
    return OmegaConf.select(config, "trainer.accelerator") in (None, "cpu")


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


def register_launcher() -> None:
    """Makes the launcher known to Hydra; may be called more than once.

    Hydra takes launchers from the namespace ``hydra_plugins`` only. A real package there would be imported by every
    Hydra program of the environment, so this module merely goes by a name in it, in this process.
    """
    plugins = Plugins.instance()  # looks for installed plugins when first called, and must not find this one
    if _NAMESPACE not in sys.modules:
        namespace = ModuleType(_NAMESPACE)
        namespace.__path__ = []
        sys.modules[_NAMESPACE] = namespace
    sys.modules[_PLUGIN_MODULE] = sys.modules[__name__]
    ProcessLauncher.__module__ = _PLUGIN_MODULE
    plugins.register(ProcessLauncher)
    ConfigStore.instance().store(
        group="schema/launcher", name="processes", node=ProcessLauncherConfig, provider="specs_lab"
    )
