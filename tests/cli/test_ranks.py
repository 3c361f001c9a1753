"""How processes of one job are started, kept quiet and blamed."""

import os
import subprocess
import sys
import tempfile
from types import SimpleNamespace

import pytest

from specs_lab.cli.events import EVENTS_FD_VARIABLE
from specs_lab.cli.ranks import EVENTS_PIPE_VARIABLE, _events_passed_on, blame, quiet_arguments, require_no_sweep
from specs_lab.core.errors import UserError
from specs_lab.training.options.trainer import TrainerOptions
from specs_lab.training.ranks import require_ranks

ENDED = {75, -15}


@pytest.fixture(autouse=True)
def no_ranks(monkeypatch):
    for name in (
        "RANK",
        "WORLD_SIZE",
        "TORCHELASTIC_RUN_ID",
        "SLURM_NTASKS",
        "SLURM_PROCID",
        EVENTS_FD_VARIABLE,
        "SLURM_STEP_NUM_TASKS",
        "SLURM_JOB_NAME",
    ):
        monkeypatch.delenv(name, raising=False)


def _as_torchrun(monkeypatch, rank: int, of: int) -> None:
    for name, value in {"RANK": rank, "WORLD_SIZE": of, "LOCAL_RANK": rank, "TORCHELASTIC_RUN_ID": "a"}.items():
        monkeypatch.setenv(name, str(value))


def test_only_the_first_of_several_keeps_the_output_folder(monkeypatch):
    typed = ["trainer=ddp", "hydra.run.dir=out"]
    assert quiet_arguments(typed) == typed
    _as_torchrun(monkeypatch, 0, 2)
    assert quiet_arguments(typed) == typed
    _as_torchrun(monkeypatch, 1, 2)
    first, folder, subfolder = quiet_arguments(typed)
    assert (first, subfolder) == ("trainer=ddp", "hydra.output_subdir=null")
    os.rmdir(folder.removeprefix("hydra.run.dir=").strip("'"))


@pytest.mark.parametrize(("strategy", "is_one_of_several"), [("fsdp2", True), ("single", False)])
def test_a_task_of_slurm_is_one_of_several_if_the_configuration_says_so(
    monkeypatch, tmp_path, strategy, is_one_of_several
):
    """Also where the command line itself does not name the strategy."""
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "large.yaml").write_text(f"# @package _global_\ntrainer:\n  strategy: {strategy}\n")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("SLURM_PROCID", "1")
    typed = ["--config-dir", str(tmp_path), "experiment=large"]
    assert (quiet_arguments(typed) != typed) == is_one_of_several


def test_the_folder_that_is_thrown_away_goes_with_its_process(tmp_path):
    """However it ends, and whoever has started it."""
    code = "from specs_lab.cli.ranks import quiet_arguments; print(quiet_arguments(['trainer=ddp'])[1])"
    ranks = {"TORCHELASTIC_RUN_ID": "a", "RANK": "1", "TMPDIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **ranks}, capture_output=True, text=True, check=True
    )
    assert f"{tmp_path}/specs-lab-rank-" in done.stdout
    assert not list(tmp_path.iterdir())


def test_a_sweep_by_each_of_several_processes_is_refused(monkeypatch):
    require_no_sweep(True)
    _as_torchrun(monkeypatch, 0, 2)
    with pytest.raises(UserError, match="sweep"):
        require_no_sweep(True)


def test_numbers_of_processes_must_agree(monkeypatch):
    two = TrainerOptions(strategy="ddp", devices=2)
    assert not require_ranks(two)  # they can be started here
    with pytest.raises(UserError, match="srun"):
        require_ranks(TrainerOptions(strategy="ddp", devices=2, nodes=2))
    _as_torchrun(monkeypatch, 0, 2)
    assert require_ranks(two)
    with pytest.raises(UserError, match="torchrun has started 2"):
        require_ranks(TrainerOptions(strategy="ddp", devices=4))
    with pytest.raises(UserError, match="torchrun has started 2"):
        require_ranks(TrainerOptions())


def test_a_batch_script_of_several_tasks_is_none_of_them(monkeypatch):
    """It has SLURM's variables, but nobody else is there to be waited for."""
    for name in ("SLURM_NTASKS", "SLURM_NTASKS_PER_NODE"):
        monkeypatch.setenv(name, "2")
    monkeypatch.setenv("SLURM_PROCID", "0")
    two = TrainerOptions(strategy="ddp", devices=2)
    assert not require_ranks(two)
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "2")  # by srun
    assert require_ranks(two)


def _failure(rank: int, code: int, when: int) -> SimpleNamespace:
    return SimpleNamespace(local_rank=rank, exitcode=code, timestamp=when)


def test_who_failed_by_itself_is_blamed_and_its_log_is_shown(tmp_path, capsys):
    log = tmp_path / "job_x" / "attempt_0" / "1" / "stderr.log"
    log.parent.mkdir(parents=True)
    log.write_text("the disk is full\n")
    assert blame([_failure(0, 75, 1), _failure(1, 2, 2), _failure(2, -15, 0)], tmp_path, ENDED) == 2
    said = capsys.readouterr().err
    assert "rank 1 " in said
    assert said.count("the disk is full") == 1


def test_what_the_first_process_said_itself_is_not_said_again(tmp_path, capsys):
    assert blame([_failure(0, 2, 1), _failure(1, 75, 0)], tmp_path, ENDED) == 2
    assert capsys.readouterr().err == ""


def test_a_killed_process_is_named_with_its_signal(tmp_path, capsys):
    assert blame([_failure(0, -9, 1)], tmp_path, ENDED) == 137
    assert "SIGKILL" in capsys.readouterr().err


def test_reports_of_progress_reach_the_sweep(monkeypatch):
    read_end, write_end = os.pipe()
    monkeypatch.setenv(EVENTS_FD_VARIABLE, str(write_end))
    with _events_passed_on() as variables:
        with open(variables[EVENTS_PIPE_VARIABLE], "w", encoding="utf-8") as pipe:
            pipe.write("one\ntwo\n")
        assert EVENTS_FD_VARIABLE not in os.environ
    os.close(write_end)
    with os.fdopen(read_end) as source:
        assert source.read() == "one\ntwo\n"
