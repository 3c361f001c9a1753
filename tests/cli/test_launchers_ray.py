"""The launcher `ray` against a stand-in that runs tasks in threads; the real one runs in tests/e2e where installed."""

import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from specs_lab.cli.children import Command, Outcome
from specs_lab.cli.launchers.rays import RayLauncher, RayLauncherConfig
from specs_lab.cli.room import Needs
from specs_lab.core.errors import UserError
from specs_lab.core.progress import Event


class LostWorker(Exception):
    """Stands for Ray's own errors."""


class Task(threading.Thread):
    """A task, under way; ``lost``: its worker dies instead."""

    def __init__(self, run: Callable[[], int], lost: bool) -> None:
        super().__init__()
        self._run, self._lost = run, lost
        self.value: int | Exception = LostWorker("the worker died")
        self.start()

    def run(self) -> None:
        if not self._lost:
            self.value = self._run()


class StandIn(ModuleType):
    """As much of Ray as the launcher uses."""

    def __init__(self) -> None:
        super().__init__("ray")
        self.exceptions = SimpleNamespace(RayError=LostWorker)
        self.settings: dict[str, Any] = {}
        self.options: list[dict[str, Any]] = []
        self.ended = 0
        self.lost: set[str] = set()

    def init(self, **settings: Any) -> None:
        if settings["address"] == "ray://nowhere:1":
            raise ConnectionError("nobody answers")
        self.settings = settings

    def cluster_resources(self) -> dict[str, float]:
        return {"CPU": 8.0, "GPU": 2.0, "memory": 10e9}

    def shutdown(self) -> None:
        self.ended += 1

    def remote(self, function: Callable[..., int]) -> Any:
        def options(**given: Any) -> Any:
            self.options.append(given)
            lost = given["name"] in self.lost
            return SimpleNamespace(remote=lambda *arguments: Task(lambda: function(*arguments), lost))

        return SimpleNamespace(options=options)

    def wait(self, tasks: list[Task], timeout: float) -> tuple[list[Task], list[Task]]:
        done = [task for task in tasks if not task.is_alive()]
        return done, [task for task in tasks if task.is_alive()]

    def get(self, task: Task) -> int:
        if isinstance(task.value, Exception):
            raise task.value
        return task.value


class Record:
    def __init__(self) -> None:
        self.messages: list[str] = []

    def job_started(self, name: str) -> None: ...

    def job_event(self, name: str, event: Event) -> None:
        self.messages.append(event["text"])

    def job_ended(self, name: str, completed: bool, seconds: float) -> None: ...


@pytest.fixture
def ray(monkeypatch: pytest.MonkeyPatch) -> StandIn:
    made = StandIn()
    monkeypatch.setitem(sys.modules, "ray", made)
    return made


def _run(
    folder: Path, codes: dict[str, str], needs: Needs | None = None, **changes: Any
) -> tuple[list[Outcome], Record]:
    settings = {name: value for name, value in vars(RayLauncherConfig(poll_s=0.1)).items() if name != "_target_"}
    commands = [
        Command(name, folder / name, [sys.executable, "-c", code], {}, needs or Needs()) for name, code in codes.items()
    ]
    record = Record()
    return RayLauncher(**{**settings, **changes}).run(commands, record), record


SAY = 'import os; os.write(int(os.environ[\'SPECS_LAB_EVENTS_FD\']), b\'{"event": "message", "text": "here"}\\n\')'


def test_jobs_are_tasks_with_their_progress_and_exit_codes(ray: StandIn, tmp_path: Path) -> None:
    outcomes, record = _run(tmp_path, {"good": SAY, "bad": "import sys; print('why'); sys.exit(3)"})
    assert [outcome.exit_code for outcome in outcomes] == [0, 3]
    assert "here" in record.messages
    assert outcomes[1].last_lines() == ["why"]
    assert ray.settings["address"] == "local"
    assert ray.ended == 1


def test_tasks_ask_for_what_jobs_need(ray: StandIn, tmp_path: Path) -> None:
    needs = Needs(memory=5 * 10**9, on_gpu=True, processes=2, threads=3)
    _run(tmp_path, {"job": ""}, needs)
    _run(tmp_path, {"job": ""}, needs, num_cpus=1.5, num_gpus=0.5, memory_gb=2, max_retries=1)
    first, second = ray.options
    assert (first["num_cpus"], first["num_gpus"], first["memory"]) == (6, 2, 5 * 10**9)
    assert second == {"name": "job", "max_retries": 1, "num_cpus": 1.5, "num_gpus": 0.5, "memory": 2 * 10**9}


def test_a_job_whose_worker_is_lost_has_failed_and_says_why(ray: StandIn, tmp_path: Path) -> None:
    ray.lost = {"job"}
    (outcome,), _ = _run(tmp_path, {"job": ""})
    assert outcome.exit_code == 1
    assert outcome.last_lines()[-1] == "Ray: the worker died"


def test_a_cluster_that_does_not_answer_is_a_fault(ray: StandIn, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nobody answers"):
        _run(tmp_path, {"job": ""}, address="ray://nowhere:1")


def test_what_a_cluster_of_this_machine_can_never_give_is_a_fault_or_cut(ray: StandIn, tmp_path: Path) -> None:
    """Ray itself would wait for another machine for ever."""
    with pytest.raises(UserError) as caught:
        _run(tmp_path, {"job": ""}, Needs(on_gpu=True, processes=4, threads=4))
    assert [fault.where for fault in caught.value.faults] == ["hydra.launcher.num_cpus", "hydra.launcher.num_gpus"]
    _run(tmp_path, {"job": ""}, Needs(memory=20 * 10**9))
    assert ray.options[-1]["memory"] == 10 * 10**9


def test_jobs_over_several_machines_are_faults(ray: StandIn, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"trainer\.nodes"):
        _run(tmp_path, {"job": ""}, Needs(nodes=2))


def test_without_ray_the_user_is_told_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError, match=r"pip install 'specs_lab\[ray\]'"):
        _run(tmp_path, {"job": ""})
