"""The same sweep by every launcher: the same results. Killed, it leaves nobody behind, and the same command ends it."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest

from specs_lab.cli.orphans import birth_of

pytestmark = pytest.mark.e2e
OVERRIDES = (
    *("experiment=smoke", "recipe=zero", "~recipe.stages.zero", "~recipe.stages.evaluate_zero", "seed=0,1"),
    *("trainer.threads=1", "suite.n=2"),
)
NEEDS = {"submitit_local": "submitit", "ray": "ray"}


def _command(folder: Path, launcher: str, *overrides: str) -> list[str]:
    sweep = (f"hydra/launcher={launcher}", f"hydra.sweep.dir={folder / launcher}")
    return [sys.executable, "-m", "specs_lab.run", "-m", *OVERRIDES, *sweep, *overrides]


def _environment(cache: Path) -> dict[str, str]:
    return {**os.environ, "SPECS_LAB_CACHE": str(cache)}


def _results(sweep: Path) -> list[dict[str, str]]:
    with (sweep / "summary.csv").open() as file:
        return list(csv.DictReader(file))


def _files(sweep: Path) -> list[dict[str, dict[str, str]]]:
    """Of each job, by the keys of its stages, the checksums of what they made."""
    jobs = [json.loads(path.read_text()) for path in sorted(sweep.glob("*/job.json"))]
    assert len(jobs) == 2
    return [
        {one["key"]: json.loads((Path(one["folder"]) / "manifest.json").read_text())["files"]}
        for job in jobs
        for one in job["stages"].values()
    ]


def _until(holds: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        if holds():
            return True
        time.sleep(0.1)
    return False


def _children(pid: int) -> list[int]:
    found = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=False)
    return [int(one) for one in found.stdout.split()]


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[int]]:
    """A sweep that was killed while a job was making a stage, and run again; its folder, and the jobs of then."""
    folder, cache = tmp_path_factory.mktemp("sweeps"), tmp_path_factory.mktemp("cache")
    command = _command(folder, "processes", "hydra.launcher.n_jobs=2", "hydra.launcher.grace_s=5")
    with (folder / "log").open("wb") as log:
        sweep = subprocess.Popen(command, cwd=folder, env=_environment(cache), stdout=log, stderr=log)
        assert _until(lambda: any(cache.glob("tmp/*")) or sweep.poll() is not None)
        jobs = _children(sweep.pid)
        sweep.send_signal(signal.SIGKILL)
        sweep.wait()
    assert len(jobs) == 2, (folder / "log").read_text()[-3000:]
    assert _until(lambda: not any(birth_of(job) for job in jobs))
    again = subprocess.run(
        command, cwd=folder, env=_environment(cache), capture_output=True, text=True, timeout=600, check=False
    )
    assert again.returncode == 0, again.stderr[-4000:]
    return folder / "processes", jobs


def test_a_killed_sweep_is_completed_by_the_same_command(killed: tuple[Path, list[int]]) -> None:
    sweep, _ = killed
    jobs = [json.loads(path.read_text()) for path in sorted(sweep.glob("*/job.json"))]
    assert [job["status"] for job in jobs] == ["completed", "completed"]
    assert [job["exit_code"] for job in json.loads((sweep / "sweep.json").read_text())["jobs"]] == [0, 0]
    shared = {job["stages"]["evaluate_base"]["key"] for job in jobs}
    assert len(shared) == 1


@pytest.mark.parametrize("launcher", ["submitit_local", "ray"])  # `basic` is `processes` with one job at a time
def test_every_launcher_comes_to_the_same_results(
    killed: tuple[Path, list[int]], tmp_path: Path, launcher: str
) -> None:
    if launcher in NEEDS and find_spec(NEEDS[launcher]) is None:
        pytest.skip(f"{NEEDS[launcher]} is not installed")
    command = _command(tmp_path, launcher)
    done = subprocess.run(
        command, cwd=tmp_path, env=_environment(tmp_path / "cache"), capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr[-4000:]
    rows = _results(tmp_path / launcher)
    assert rows
    assert rows == _results(killed[0])
    assert _files(tmp_path / launcher) == _files(killed[0])
