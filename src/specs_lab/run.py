"""Runs a study, or by ``-m`` a sweep of studies: ``python -m specs_lab.run``, installed as ``specs-lab``.

Other commands, such as ``specs-lab doctor`` and ``specs-lab report``, are in :data:`COMMANDS`.
"""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from specs_lab.cli.composition import CONFIG_MODULE, CONFIG_NAME, VERSION_BASE, prepare
from specs_lab.cli.exits import EXIT_INTERRUPTED, exit_with
from specs_lab.cli.jobs import JobName, name_alone
from specs_lab.cli.orphans import end_with_parent
from specs_lab.cli.preflight import check_command_line
from specs_lab.cli.progress_view import progress_view, sink_of
from specs_lab.cli.ranks import among_ranks, events_of_sweep, quiet_arguments, require_no_sweep
from specs_lab.cli.reports import report
from specs_lab.cli.values import study_of
from specs_lab.core.errors import UserError
from specs_lab.core.progress import Progress
from specs_lab.core.stopping import exit_on_sigterm
from specs_lab.preflight.before import check_before_run
from specs_lab.stages.store import Store
from specs_lab.stages.study import JobInfo, Study, execute


@hydra.main(version_base=VERSION_BASE, config_path=f"pkg://{CONFIG_MODULE}", config_name=CONFIG_NAME)
def run(cfg: DictConfig) -> None:
    """Hydra's task: runs the study that a configuration describes."""
    try:
        _run(cfg)
    except UserError as error:
        # Hydra would print a traceback; found late, e.g. in a file that a stage reads, it is no bug all the same.
        exit_with(error)


def _run(cfg: DictConfig) -> None:
    study = study_of(cfg)
    settings = HydraConfig.get()
    folder = Path(settings.runtime.output_dir)
    typed: Any = OmegaConf.to_container(settings.overrides.task)  # as typed: what an interpolation means stays unsaid
    name = JobName.from_environment() or name_alone(str(settings.runtime.choices.get("coldstart")), typed)
    job = JobInfo(folder=folder, name=name.name, job=name.number, overrides=list(name.overrides), arm=name.arm)
    among_ranks(study.trainer, folder, lambda: _lead(study, job), lambda: _follow(study, job))


def _lead(study: Study, job: JobInfo) -> None:
    """What the only process does, or the first of several."""
    to_sweep = events_of_sweep()
    if to_sweep is not None:
        _execute(study, job, Progress(to_sweep))
        return
    with progress_view(Console(stderr=True), n_jobs=1) as view:
        view.job_started(job.name)
        _execute(study, job, Progress(sink_of(view, job.name)))
    report(job.folder, [job.folder])


def _execute(study: Study, job: JobInfo, progress: Progress) -> None:
    check_before_run(study, progress)
    execute(study, job, progress, _shared_store(study, progress))


def _follow(study: Study, job: JobInfo) -> None:
    """What each other process does: its part of trainings, and nothing that anybody sees."""
    execute(replace(study, logger=None), job, Progress(), _shared_store(study, Progress()))


def _shared_store(study: Study, progress: Progress) -> Store | None:
    """The store of several processes; None: there is one, which needs nothing special."""
    if study.trainer is None or study.trainer.devices * study.trainer.nodes == 1:
        return None
    from specs_lab.stages.together import SharedStore  # imports torch

    return SharedStore(Path(study.paths.cache), progress)


COMMANDS = {
    "claim": "specs_lab.claim",
    "doctor": "specs_lab.doctor",
    "export": "specs_lab.export",
    "import": "specs_lab.import_data",
    "inspect": "specs_lab.inspect_problems",
    "report": "specs_lab.report",
    "rescore": "specs_lab.rescore",
    "scale": "specs_lab.scale",
}
"""Other commands, each by the module whose ``main`` it is; anything else on the command line is Hydra's."""


def main() -> None:
    """The command line: checks all of it first, then lets Hydra run.

    Exit codes: 0 fine, 1 a stage or a job failed, 2 wrong input, 130 interrupted.
    """
    if sys.argv[1:2] and sys.argv[1] in COMMANDS:
        import_module(COMMANDS[sys.argv[1]]).main(sys.argv[2:])
        return
    exit_on_sigterm()
    end_with_parent()
    for library in ("HF_HUB", "HF_DATASETS"):  # the terminal belongs to the progress view
        os.environ.setdefault(f"{library}_DISABLE_PROGRESS_BARS", "1")
    try:
        prepare()
        sys.argv[1:] = quiet_arguments(sys.argv[1:])
        require_no_sweep(bool({"-m", "--multirun"} & set(sys.argv[1:])))
        check_command_line(sys.argv[1:])
        run()  # pyright: ignore[reportCallIssue]  # Hydra fills in the configuration
    except UserError as error:
        exit_with(error)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(EXIT_INTERRUPTED)


if __name__ == "__main__":
    main()
