"""Several processes for one study: started here on one machine, or met where torchrun or SLURM has started them.

Here PyTorch's elastic agent starts them: it finds a free port, passes signals on, and ends all when one fails. Only the
first one writes to the terminal; the others write to ``ranks/`` in the job's folder, of which the end is shown if one
of them fails, and which is removed if none does.
"""

from __future__ import annotations

import atexit
import os
import select
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra._internal.utils import get_args_parser
from omegaconf import OmegaConf

from specs_lab.cli.composition import CONFIG_NAME, CompositionError, composer
from specs_lab.cli.events import EVENTS_FD_VARIABLE, EventWriter
from specs_lab.cli.exits import EXIT_FAILED
from specs_lab.cli.jobs import quoted
from specs_lab.cli.orphans import parent_environment
from specs_lab.core.errors import Fault, UserError
from specs_lab.training.options.trainer import TrainerOptions

EVENTS_PIPE_VARIABLE = "SPECS_LAB_EVENTS_PIPE"
_LOGS = "ranks"
_GRACE_S = 30
"""How long processes may take to end when what started them has gone."""
_FINISH_S = 600
"""How long they may take to finish a step and write a checkpoint when they are asked to stop."""
_LINES = 20


def require_no_sweep(sweeps: bool) -> None:
    """Checks that no sweep is started by each of several processes.

    Raises:
        UserError: If it is.
    """
    if sweeps and "TORCHELASTIC_RUN_ID" in os.environ:
        what = "each of torchrun's processes would run a sweep of its own"
        fix = "start the sweep itself without torchrun: each job starts its own processes (trainer.devices)"
        raise UserError([Fault("--multirun", what, fix)])


def quiet_arguments(arguments: Sequence[str]) -> list[str]:
    """What a process that is not the first of several is to be started with: its output folder is thrown away."""
    if "TORCHELASTIC_RUN_ID" in os.environ:
        is_follower = os.environ.get("RANK", "0") != "0"
    else:  # SLURM's tasks may also be runs of their own
        is_follower = os.environ.get("SLURM_PROCID", "0") != "0" and _asks_for_several(arguments)
    if not is_follower:
        return list(arguments)
    folder = tempfile.mkdtemp(prefix="specs-lab-rank-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    own = [one for one in arguments if not one.startswith("hydra.run.dir=")]
    return [*own, f"hydra.run.dir={quoted(folder)}", "hydra.output_subdir=null"]


def _asks_for_several(arguments: Sequence[str]) -> bool:
    """Whether the configuration, of which the command line need not say all, is of several processes."""
    flags = get_args_parser().parse_args(list(arguments))
    folder = Path(flags.config_dir) if flags.config_dir else None
    try:
        with composer(flags.config_name or CONFIG_NAME, folder) as known:
            return OmegaConf.select(known.compose(flags.overrides), "trainer.strategy") in ("ddp", "fsdp2")
    except CompositionError:
        return False  # what is wrong is said when it is checked


def among_ranks(
    trainer: TrainerOptions | None, folder: Path, lead: Callable[[], None], follow: Callable[[], None]
) -> None:
    """Runs a study, by one process or several.

    Args:
        trainer: Says how many.
        folder: The job's.
        lead: What the first does, or the only one.
        follow: What each other one does.

    Raises:
        UserError: If there are not as many processes as the options say.
        SystemExit: If processes that were started here have failed.
    """
    if trainer is None or (trainer.devices * trainer.nodes == 1 and "TORCHELASTIC_RUN_ID" not in os.environ):
        lead()
        return
    from specs_lab.training.distributed import RankMissing  # imports torch
    from specs_lab.training.ranks import EXIT_OTHER_RANK, OtherRankFailed, joined, require_ranks

    if not require_ranks(trainer):
        start_ranks(trainer, folder, sys.argv[1:])
        return
    try:
        with joined(trainer) as number:
            (follow if number else lead)()
    except OtherRankFailed:
        sys.exit(EXIT_OTHER_RANK)  # that one has said why
    except RankMissing as error:
        print(error, file=sys.stderr)
        sys.exit(EXIT_FAILED)


def events_of_sweep() -> EventWriter | None:
    """Where the process that does the work of a sweep's job reports progress; None outside of sweeps."""
    pipe = os.environ.pop(EVENTS_PIPE_VARIABLE, None)
    return EventWriter.from_environment() if pipe is None else EventWriter(os.open(pipe, os.O_WRONLY))


def start_ranks(trainer: TrainerOptions, folder: Path, arguments: Sequence[str]) -> None:
    """Runs this very command in as many processes as the trainer has devices.

    Args:
        trainer: Says how many.
        folder: The job's, which the first one takes as its own.
        arguments: The command's.

    Raises:
        SystemExit: If they fail, with the exit code of the one that failed first, or are ended.
    """
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException, Std
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    from specs_lab.training.ranks import EXIT_OTHER_RANK

    _hush("torch.distributed.elastic")
    logs = folder.absolute() / _LOGS
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=trainer.devices,
        run_id="job",
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",  # a free port
        local_addr="localhost",
        max_restarts=0,
        shutdown_timeout=_FINISH_S,
        logs_specs=DefaultLogsSpecs(str(logs), redirects=dict.fromkeys(range(1, trainer.devices), Std.ALL)),
    )
    own = [one for one in arguments if not one.startswith("hydra.run.dir=")]
    command = ["-m", "specs_lab.run", *own, f"hydra.run.dir={quoted(str(folder.absolute()))}"]
    try:
        with _events_passed_on() as variables, _environment({**parent_environment(_GRACE_S), **variables}):
            elastic_launch(config, sys.executable)(*command)
    except ChildFailedError as error:
        sys.exit(blame(error.failures.values(), logs, ended={EXIT_OTHER_RANK, -signal.SIGTERM, 128 + signal.SIGTERM}))
    except SignalException as error:
        sys.exit(128 + error.sigval)
    shutil.rmtree(logs, ignore_errors=True)


def _hush(name: str) -> None:
    import logging

    logging.getLogger(name).setLevel(logging.CRITICAL)


def blame(failures: Any, logs: Path, ended: Collection[int]) -> int:
    """Shows why processes failed, unless the terminal says it already.

    Args:
        failures: What the agent says of each.
        logs: Where it has put their logs.
        ended: Exit codes of those that ended because of another one.

    Returns:
        The exit code of the one that is to blame.
    """
    ordered = sorted(failures, key=lambda failure: (failure.exitcode in ended, failure.timestamp))
    first = ordered[0]
    code = first.exitcode if first.exitcode > 0 else 128 - first.exitcode
    if first.local_rank == 0 and first.exitcode > 0:
        return code
    how = f"exit code {first.exitcode}" if first.exitcode > 0 else f"signal {signal.Signals(-first.exitcode).name}"
    print(f"rank {first.local_rank} of the job's processes failed with {how}", file=sys.stderr)
    for log in sorted(logs.glob(f"*/*/{first.local_rank}/stderr.log")):
        lines = log.read_text(encoding="utf-8", errors="replace").rstrip().splitlines()[-_LINES:]
        print(f"the end of {log}:", *(f"  {line}" for line in lines), sep="\n", file=sys.stderr)
    return code


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Variables for processes that are started inside."""
    before = dict(os.environ)
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextmanager
def _events_passed_on() -> Iterator[dict[str, str]]:
    """Passes on to a sweep what the first process reports, whom the agent hands no descriptors; yields variables."""
    descriptor = os.environ.pop(EVENTS_FD_VARIABLE, None)
    if descriptor is None:
        yield {}
        return
    with tempfile.TemporaryDirectory(prefix="specs-lab-events-") as folder:
        pipe = Path(folder) / "pipe"
        os.mkfifo(pipe)
        source = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
        ended = threading.Event()
        thread = threading.Thread(target=_copy, args=(source, int(descriptor), ended), daemon=True)
        thread.start()
        try:
            yield {EVENTS_PIPE_VARIABLE: str(pipe)}
        finally:
            ended.set()
            thread.join()
            os.close(source)


def _copy(source: int, target: int, ended: threading.Event) -> None:
    """Copies until there is nothing more to come."""
    while True:
        last = ended.is_set()
        ready, _, _ = select.select([source], [], [], 0.1)
        chunk = os.read(source, 1 << 16) if ready else b""
        if chunk:
            while chunk:
                chunk = chunk[os.write(target, chunk) :]
        elif last:
            return
        else:
            ended.wait(0.1)  # nobody has opened the pipe, or nobody has it open any more
