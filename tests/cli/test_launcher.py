import io
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from hydra._internal.callbacks import Callbacks
from hydra.core.global_hydra import GlobalHydra
from hydra.core.plugins import Plugins
from hydra.core.utils import JobStatus
from hydra.types import HydraContext, RunMode
from omegaconf import DictConfig
from rich.console import Console

from specs_lab.cli.children import LOG_NAME, Command, Outcome
from specs_lab.cli.composition import Composer
from specs_lab.cli.launchers import processes
from specs_lab.cli.launchers.base import SWEEP_FILE, SweepLauncher, print_failures
from specs_lab.cli.room import Room


class Recorder:
    """Stands for the processes: takes the commands; the jobs named in ``failing`` fail."""

    def __init__(self, failing: Sequence[str] = ()) -> None:
        self.commands: list[Command] = []
        self.n_jobs = 0
        self.room = Room()
        self.failing = failing

    def __call__(
        self, commands: Sequence[Command], n_jobs: int, watcher: object, room: Room, grace_s: float
    ) -> list[Outcome]:
        self.commands, self.n_jobs, self.room = list(commands), n_jobs, room
        for command in commands:
            command.folder.mkdir(parents=True)
            (command.folder / LOG_NAME).write_text("the log\n")
        return [Outcome(command, int(command.name in self.failing), 1.0) for command in commands]


def _launcher(overrides: Sequence[str]) -> SweepLauncher:
    hydra = GlobalHydra.instance().hydra
    assert hydra is not None
    config = hydra.compose_config("config", list(overrides), RunMode.MULTIRUN, with_log_configuration=False)
    made = Plugins.instance().instantiate_launcher(
        hydra_context=HydraContext(config_loader=hydra.config_loader, callbacks=Callbacks(DictConfig({"hydra": {}}))),
        task_function=lambda _: None,
        config=config,
    )
    assert isinstance(made, SweepLauncher)
    return made


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    made = Recorder()
    monkeypatch.setattr(processes, "run_side_by_side", made)
    return made


def _fixed(sweep_dir: Path, fake_model: list[str]) -> list[str]:
    return [f"hydra.sweep.dir={sweep_dir}", *fake_model]


def test_each_job_is_a_command_of_its_own(
    known: Composer, recorder: Recorder, tmp_path: Path, fake_model: list[str]
) -> None:
    swept = _launcher([*_fixed(tmp_path / "sweep", fake_model), "coldstart=sft,dpo", "hydra.verbose=true"])
    jobs = [[*fake_model, "coldstart=sft"], [*fake_model, "coldstart=dpo"]]
    returns = swept.launch(jobs, 0)
    assert [item.status for item in returns] == [JobStatus.COMPLETED, JobStatus.COMPLETED]
    first, second = recorder.commands
    assert (first.name, second.name) == ("sft", "dpo")
    assert first.folder == tmp_path / "sweep" / "0_coldstart=sft"
    assert first.arguments[:3] == [sys.executable, "-m", "specs_lab.run"]
    assert f"hydra.run.dir='{first.folder}'" in first.arguments
    assert {*jobs[0], "hydra.verbose=true"} <= set(first.arguments)
    assert not any("sweep.dir" in item or item == "-m" for item in first.arguments[3:])


def test_cores_are_divided_among_the_jobs(
    known: Composer, recorder: Recorder, tmp_path: Path, fake_model: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "available_cores", lambda: 8)
    swept = _launcher([*_fixed(tmp_path / "sweep", fake_model), "seed=0,1,2", "hydra.launcher.n_jobs=2"])
    swept.launch([[*fake_model, f"seed={seed}"] for seed in range(3)], 0)
    assert recorder.n_jobs == 2
    for command in recorder.commands:
        assert command.environment["OMP_NUM_THREADS"] == "4"
        assert "trainer.threads=4" in command.arguments


def test_threads_that_the_user_sets_are_kept(
    known: Composer, recorder: Recorder, tmp_path: Path, fake_model: list[str]
) -> None:
    swept = _launcher([*_fixed(tmp_path / "sweep", fake_model), "trainer.threads=3"])
    swept.launch([[*fake_model, "trainer.threads=3"]], 0)
    assert [item for item in recorder.commands[0].arguments if item.startswith("trainer.")] == ["trainer.threads=3"]


@pytest.mark.parametrize(
    ("trainer", "gpus", "n_jobs"),
    [
        (["trainer=cpu"], [], 3),
        (["trainer=cpu", "trainer.threads=2", "trainer.strategy=ddp", "trainer.devices=2"], [], 2),
        (["trainer=gpu"], ["0"], 1),
        (["trainer=gpu"], ["0", "3"], 2),
    ],
    ids=["cores", "cores for processes and threads", "one GPU", "two GPUs"],
)
def test_as_many_jobs_as_cores_or_gpus(
    known: Composer,
    recorder: Recorder,
    tmp_path: Path,
    fake_model: list[str],
    monkeypatch: pytest.MonkeyPatch,
    trainer: list[str],
    gpus: list[str],
    n_jobs: int,
) -> None:
    monkeypatch.setattr(processes, "available_cores", lambda: 8)
    monkeypatch.setattr(processes, "visible_gpus", lambda: gpus)
    fixed = [*fake_model, *trainer]
    monkeypatch.setattr("specs_lab.training.options.trainer._gpu_is_there", lambda: True)
    swept = _launcher([*_fixed(tmp_path / "sweep", fixed), "seed=0,1,2"])
    swept.launch([[*fixed, f"seed={seed}"] for seed in range(3)], 0)
    assert recorder.n_jobs == n_jobs


def test_basic_is_one_job_at_a_time_each_a_command_of_its_own(
    known: Composer, recorder: Recorder, tmp_path: Path, fake_model: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "available_cores", lambda: 8)
    swept = _launcher([*_fixed(tmp_path / "sweep", fake_model), "seed=0,1", "hydra/launcher=basic"])
    swept.launch([[*fake_model, f"seed={seed}"] for seed in range(2)], 0)
    assert recorder.n_jobs == 1
    assert [command.arguments[1:3] for command in recorder.commands] == [["-m", "specs_lab.run"]] * 2
    assert not any(item.startswith("hydra/launcher") for item in recorder.commands[0].arguments)


def test_jobs_that_want_more_gpus_than_there_are_end_the_program_with_code_2(
    known: Composer,
    recorder: Recorder,
    tmp_path: Path,
    fake_model: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(processes, "visible_gpus", lambda: ["0"])
    monkeypatch.setattr("specs_lab.training.options.trainer._gpu_is_there", lambda: True)
    fixed = [*fake_model, "trainer=gpu", "trainer.strategy=ddp", "trainer.devices=2"]
    swept = _launcher([*_fixed(tmp_path / "sweep", fixed), "seed=0,1"])
    with pytest.raises(SystemExit) as caught:
        swept.launch([[*fixed, "seed=0"]], 0)
    assert caught.value.code == 2
    assert "trainer.devices" in capsys.readouterr().err
    assert recorder.commands == []


def test_what_a_job_needs_is_estimated_or_given(known: Composer, recorder: Recorder, tmp_path: Path) -> None:
    needed = []
    for given in ("null", "3"):
        fixed = ["experiment=smoke"]
        more = [f"hydra.sweep.dir={tmp_path / given}", f"hydra.launcher.job_memory_gb={given}"]
        _launcher([*fixed, "seed=0,1", *more]).launch([[*fixed, "seed=0"]], 0)
        needed.append(recorder.commands[0].needs.memory)
    assert 500e6 < needed[0] < 3e9
    assert needed[1] == 3e9


def test_the_sweep_leaves_a_record_of_its_jobs(
    known: Composer, recorder: Recorder, tmp_path: Path, fake_model: list[str]
) -> None:
    recorder.failing = ["dpo"]
    swept = _launcher([*_fixed(tmp_path / "sweep", fake_model), "coldstart=sft,dpo"])
    swept.launch([[*fake_model, f"coldstart={name}"] for name in ("sft", "dpo")], 0)
    record = json.loads((tmp_path / "sweep" / SWEEP_FILE).read_text())
    assert record["launcher"] == "processes"
    assert {job["name"]: job["exit_code"] for job in record["jobs"]} == {"sft": 0, "dpo": 1}


def test_a_failed_job_ends_the_program_with_code_1_when_its_result_is_read(
    known: Composer, recorder: Recorder, tmp_path: Path, fake_model: list[str]
) -> None:
    recorder.failing = ["dpo"]
    swept = _launcher([*_fixed(tmp_path / "sweep", fake_model), "coldstart=sft,dpo"])
    good, bad = swept.launch([[*fake_model, f"coldstart={name}"] for name in ("sft", "dpo")], 0)
    assert good.return_value is None
    assert bad.status == JobStatus.FAILED
    with pytest.raises(SystemExit) as caught:
        _ = bad.return_value
    assert caught.value.code == 1


def test_failures_are_named_with_the_end_of_their_logs(tmp_path: Path) -> None:
    commands = [Command(f"job {i}", tmp_path / str(i), [], {}) for i in range(2)]
    for command in commands:
        command.folder.mkdir()
        (command.folder / LOG_NAME).write_text("first\n" + f"last of {command.name} [x]\n")
    text = io.StringIO()
    print_failures(Console(file=text), [Outcome(commands[0], 0, 1.0), Outcome(commands[1], 1, 1.0)])
    assert "last of job 1 [x]" in text.getvalue()
    assert "last of job 0" not in text.getvalue()
    assert "1 of 2 jobs failed: job 1" in text.getvalue()
    print_failures(Console(file=text), [])
