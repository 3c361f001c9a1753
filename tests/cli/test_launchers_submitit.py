import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from specs_lab.cli.children import LOG_NAME, Command, Outcome
from specs_lab.cli.launchers.attended import EVENTS_NAME, EventTail
from specs_lab.cli.launchers.base import SweepLauncher
from specs_lab.cli.launchers.elsewhere import Elsewhere
from specs_lab.cli.launchers.submitted import (
    LocalQueueConfig,
    SlurmQueueConfig,
    SubmititLocalLauncher,
    SubmititSlurmLauncher,
)
from specs_lab.cli.orphans import birth_of
from specs_lab.cli.room import Needs
from specs_lab.core.errors import UserError
from specs_lab.core.progress import Event

pytest.importorskip("submitit")

SAY = """
import json, os, signal, sys, time
from pathlib import Path
def say(text):
    os.write(int(os.environ["SPECS_LAB_EVENTS_FD"]), (json.dumps({"event": "message", "text": text}) + "\\n").encode())
"""


class Record:
    """Keeps what it is told; calls ``at_event`` for each message."""

    def __init__(self, at_event: Callable[[str, str], None] = lambda name, text: None) -> None:
        self.messages: list[tuple[str, str]] = []
        self.ended: dict[str, bool] = {}
        self.started: list[str] = []
        self.at_event = at_event

    def job_started(self, name: str) -> None:
        self.started.append(name)

    def job_event(self, name: str, event: Event) -> None:
        self.messages.append((name, event["text"]))
        self.at_event(name, event["text"])

    def job_ended(self, name: str, completed: bool, seconds: float) -> None:
        self.ended[name] = completed

    def of(self, name: str) -> list[str]:
        return [text for one, text in self.messages if one == name]


def _settings(kind: type, folder: Path, **changes: object) -> dict[str, object]:
    made = vars(kind(submitit_folder=str(folder / "submitit" / "%j"), name="test", poll_s=0.1))
    return {**{name: value for name, value in made.items() if name != "_target_"}, **changes}


def _command(folder: Path, name: str, code: str, **needs: object) -> Command:
    return Command(name, folder / name, [sys.executable, "-c", SAY + code], {"ANSWER": "42"}, Needs(**needs))  # type: ignore[arg-type]


def _run(launcher: SweepLauncher, commands: list[Command], record: Record) -> list[Outcome]:
    return launcher.run(commands, record)


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a SLURM in miniature, which is on the path."""
    home, programs = tmp_path / "slurm", tmp_path / "bin"
    home.mkdir()
    programs.mkdir()
    script = Path(__file__).with_name("slurm.py")
    script_text = script.read_text().replace("#!/usr/bin/env python3", f"#!{sys.executable}", 1)
    for name in ("sbatch", "srun", "sacct", "scancel", "scontrol"):
        (programs / name).write_text(script_text)
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("FAKE_SLURM", str(home))
    return home


def test_jobs_run_locally_with_their_progress_and_exit_codes(tmp_path: Path) -> None:
    launcher = SubmititLocalLauncher(**_settings(LocalQueueConfig, tmp_path, array_parallelism=2))
    record = Record()
    commands = [
        _command(tmp_path, "good", "say(os.environ['ANSWER']); print('to the log')"),
        _command(tmp_path, "bad", "print('why'); sys.exit(3)"),
    ]
    outcomes = _run(launcher, commands, record)
    assert [outcome.exit_code for outcome in outcomes] == [0, 3]
    assert "42" in record.of("good")
    assert record.ended == {"good": True, "bad": False}
    assert outcomes[1].last_lines() == ["why"]
    assert (tmp_path / "good" / LOG_NAME).read_text() == "to the log\n"


def test_tasks_of_a_job_are_its_ranks_and_only_the_first_reports(tmp_path: Path) -> None:
    launcher = SubmititLocalLauncher(**_settings(LocalQueueConfig, tmp_path))
    record = Record()
    code = "say('first'); names = 'RANK LOCAL_RANK WORLD_SIZE MASTER_ADDR MASTER_PORT'.split()"
    code += "\nPath(os.environ['RANK']).write_text(json.dumps({n: os.environ[n] for n in names}))"
    command = _command(tmp_path, "job", f"os.chdir({str(tmp_path)!r})\n{code}", processes=2)
    assert _run(launcher, [command], record)[0].exit_code == 0
    ranks = [json.loads((tmp_path / str(rank)).read_text()) for rank in range(2)]
    assert [(rank["RANK"], rank["LOCAL_RANK"], rank["WORLD_SIZE"]) for rank in ranks] == [
        ("0", "0", "2"),
        ("1", "1", "2"),
    ]
    assert ranks[0]["MASTER_PORT"] == ranks[1]["MASTER_PORT"]
    assert record.of("job").count("first") == 1


CHECKPOINTING = """
mark = Path({mark!r})
def save(*_):
    mark.write_text("saved")
    sys.exit(143)
signal.signal(signal.SIGTERM, save)
if mark.exists():
    say("goes on from what was " + mark.read_text())
else:
    say(f"attendant {{os.getppid()}} job {{os.getpid()}}")
    while True:
        time.sleep(0.05)
"""


def test_a_preempted_job_saves_and_goes_on(tmp_path: Path) -> None:
    def preempt(name: str, text: str) -> None:
        if text.startswith("attendant"):
            os.kill(int(text.split()[1]), signal.SIGUSR2)

    launcher = SubmititLocalLauncher(**_settings(LocalQueueConfig, tmp_path))
    record = Record(preempt)
    command = _command(tmp_path, "job", CHECKPOINTING.format(mark=str(tmp_path / "mark")))
    outcome = _run(launcher, [command], record)[0]
    assert (outcome.exit_code, outcome.starts) == (0, 2)
    assert "goes on from what was saved" in record.of("job")


def test_an_interrupted_sweep_has_local_jobs_save_and_end(tmp_path: Path) -> None:
    def interrupt(name: str, text: str) -> None:
        if text.startswith("attendant"):
            raise KeyboardInterrupt

    launcher = SubmititLocalLauncher(**_settings(LocalQueueConfig, tmp_path))
    record = Record(interrupt)
    command = _command(tmp_path, "job", CHECKPOINTING.format(mark=str(tmp_path / "mark")))
    with pytest.raises(KeyboardInterrupt):
        _run(launcher, [command], record)
    assert (tmp_path / "mark").read_text() == "saved"
    job = int(record.of("job")[-1].split()[-1])
    assert birth_of(job) == ""


def test_jobs_are_an_array_of_slurm_with_the_resources_of_the_trainer(slurm: Path, tmp_path: Path) -> None:
    changes = {"partition": "long", "qos": "high", "account": "lab", "array_parallelism": 7, "mem_gb": 12}
    more = {"setup": ["export READY=yes"], "additional_parameters": {"mail-type": "END"}, "timeout_min": 90}
    launcher = SubmititSlurmLauncher(**_settings(SlurmQueueConfig, tmp_path, **changes, **more))
    record = Record()
    needs = {"on_gpu": True, "processes": 2, "threads": 3}
    commands = [_command(tmp_path, name, "say(os.environ['READY'])", **needs) for name in ("a", "b")]
    outcomes = _run(launcher, commands, record)
    assert [outcome.exit_code for outcome in outcomes] == [0, 0]
    assert "yes" in record.of("a")
    assert "yes" in record.of("b")
    script = (slurm / "1000.sh").read_text()
    for line in (
        *("--array=0-1%2", "--partition=long", "--qos=high", "--account=lab", "--mem=12GB", "--time=90"),
        *("--nodes=1", "--ntasks-per-node=2", "--cpus-per-task=3", "--gpus-per-node=2", "--mail-type=END"),
        *("--requeue", "--signal=USR2@120", "--job-name=test"),
    ):
        assert f"#SBATCH {line}\n" in script
    assert "export READY=yes\n" in script


def test_a_job_that_slurm_preempts_saves_and_is_queued_again(slurm: Path, tmp_path: Path) -> None:
    def preempt(name: str, text: str) -> None:
        if text.startswith("attendant"):
            subprocess.run(["scancel", "1000", "--signal", "USR2"], check=True)

    launcher = SubmititSlurmLauncher(**_settings(SlurmQueueConfig, tmp_path))
    record = Record(preempt)
    command = _command(tmp_path, "job", CHECKPOINTING.format(mark=str(tmp_path / "mark")))
    outcome = _run(launcher, [command], record)[0]
    assert (outcome.exit_code, outcome.starts) == (0, 2)
    assert "goes on from what was saved" in record.of("job")


def test_an_interrupted_sweep_cancels_its_jobs_of_slurm(slurm: Path, tmp_path: Path) -> None:
    def interrupt(name: str, text: str) -> None:
        if text.startswith("attendant"):
            raise KeyboardInterrupt

    launcher = SubmititSlurmLauncher(**_settings(SlurmQueueConfig, tmp_path))
    record = Record(interrupt)
    command = _command(tmp_path, "job", CHECKPOINTING.format(mark=str(tmp_path / "mark")))
    with pytest.raises(KeyboardInterrupt):
        _run(launcher, [command], record)
    assert (slurm / "1000").read_text() == "CANCELLED"
    job, deadline = int(record.of("job")[-1].split()[-1]), time.monotonic() + 60
    while birth_of(job) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert birth_of(job) == ""
    assert (tmp_path / "mark").read_text() == "saved"


def test_a_cluster_that_is_not_there_is_a_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    launcher = SubmititSlurmLauncher(**_settings(SlurmQueueConfig, tmp_path))
    with pytest.raises(UserError, match="no SLURM"):
        _run(launcher, [_command(tmp_path, "job", "")], Record())


@pytest.mark.parametrize(
    ("changes", "needs", "where"),
    [
        ({"tasks_per_node": 3}, {"processes": 2}, "tasks_per_node"),
        ({"nodes": 2}, {}, "nodes"),
        ({"tasks_per_node": 1}, {"processes": 2, "nodes": 2}, "tasks_per_node"),
    ],
)
def test_processes_that_do_not_fit_the_trainer_are_faults(
    slurm: Path, tmp_path: Path, changes: dict, needs: dict, where: str
) -> None:
    launcher = SubmititSlurmLauncher(**_settings(SlurmQueueConfig, tmp_path, **changes))
    with pytest.raises(UserError) as caught:
        _run(launcher, [_command(tmp_path, "job", "", **needs)], Record())
    assert [fault.where for fault in caught.value.faults] == [f"hydra.launcher.{where}"]


def test_without_submitit_the_user_is_told_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "submitit", None)
    launcher = SubmititLocalLauncher(**_settings(LocalQueueConfig, tmp_path))
    with pytest.raises(UserError, match=r"pip install 'specs_lab\[slurm\]'"):
        _run(launcher, [_command(tmp_path, "job", "")], Record())


def test_what_a_sweep_before_reported_is_not_heard_and_what_comes_early_is(tmp_path: Path) -> None:
    class Early(SubmititLocalLauncher):
        """Its jobs are over before anybody follows them."""

        def submitter(self, submitit: object, commands: Sequence[Command]) -> Callable[[int], Elsewhere]:
            start = super().submitter(submitit, commands)
            jobs = [start(index) for index in range(len(commands))]
            deadline = time.monotonic() + 60
            while jobs[0].exit_code() is None and time.monotonic() < deadline:
                time.sleep(0.05)
            return jobs.__getitem__

    (tmp_path / "job").mkdir()
    (tmp_path / "job" / EVENTS_NAME).write_text('{"event": "attempt"}\n{"event": "message", "text": "before"}\n')
    record = Record()
    launcher = Early(**_settings(LocalQueueConfig, tmp_path))
    outcome = _run(launcher, [_command(tmp_path, "job", "say('early')")], record)[0]
    assert "early" in record.of("job")
    assert "before" not in record.of("job")
    assert (outcome.exit_code, outcome.starts) == (0, 1)


def test_half_a_line_of_a_killed_job_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    tail = EventTail(path)
    with path.open("a") as file:
        file.write('{"event": "message", "te')
        file.flush()
        assert list(tail.read()) == []
        file.write('\n{"event": "attempt"}\n')
    assert list(tail.read()) == [{"event": "attempt"}]
    assert list(tail.read()) == []
