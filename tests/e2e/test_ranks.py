"""A study by two processes, started by its own command, has the rows of one by one process."""

import csv
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = pytest.mark.e2e
TIMEOUT_S = 300
MADE = {"cold", "final", "evaluate_final"}
"""Stages that several processes make; what comes before is found."""


STUDY = ("experiment=smoke", "coldstart=dpo", "coldstart.steps=4", "coldstart.eval_every=4", "suite.n=4")


def _run(
    folder: Path, cache: Path, *overrides: str, meanwhile: Callable[[subprocess.Popen[str]], None] = lambda _: None
) -> subprocess.CompletedProcess[str]:
    process = subprocess.Popen(
        [sys.executable, "-m", "specs_lab.run", *STUDY, *overrides],
        cwd=folder,
        env={**os.environ, "SPECS_LAB_CACHE": str(cache)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        meanwhile(process)
        said, errors = process.communicate(timeout=TIMEOUT_S)
    finally:
        process.kill()  # ranks end with it
    return subprocess.CompletedProcess(process.args, process.returncode, said, errors)


def _rows(job: Path, stage: str) -> dict[tuple[str, ...], float]:
    folder = json.loads((job / "job.json").read_text())["stages"][stage]["folder"]
    with (Path(folder) / "rows.csv").open() as file:
        return {(row["step"], row["cell"], row["metric"]): float(row["value"]) for row in csv.DictReader(file)}


@pytest.fixture(scope="module")
def alone(tmp_path_factory) -> tuple[Path, Path]:
    """The study by one process, and its store."""
    folder, cache = tmp_path_factory.mktemp("alone"), tmp_path_factory.mktemp("cache")
    done = _run(folder, cache, "hydra.run.dir=job")
    assert done.returncode == 0, done.stderr[-4000:]
    return folder / "job", cache


@pytest.fixture
def cache(alone, tmp_path) -> Path:
    """A store that lacks what several processes are to make."""
    job, first_cache = alone
    copy = tmp_path / "cache"
    shutil.copytree(first_cache, copy)
    stages = json.loads((job / "job.json").read_text())["stages"]
    for name in MADE:
        shutil.rmtree(copy / stages[name]["kind"] / stages[name]["key"])
    shutil.rmtree(copy / "reference")
    return copy


def _compare(job: Path, other: Path) -> None:
    stages = json.loads((other / "job.json").read_text())["stages"]
    assert {name for name, stage in stages.items() if not stage["cached"]} == MADE
    for name in MADE:
        one, two = _rows(job, name), _rows(other, name)
        assert one.keys() == two.keys()
        for key, value in one.items():
            if key == ("1", "", "train/reward_accuracy"):  # before the first update, the sign of rounding errors
                continue
            assert two[key] == pytest.approx(value, rel=1e-3, abs=1e-5), (name, key)


def test_processes_that_share_a_model_make_the_study_of_one(alone, cache, tmp_path):
    done = _run(tmp_path, cache, "trainer=fsdp2", "trainer.devices=2", "hydra.run.dir=job")
    assert done.returncode == 0, done.stderr[-4000:]
    _compare(alone[0], tmp_path / "job")
    assert done.stderr.count("evaluate_final: made in") == 1  # one process speaks
    assert not (tmp_path / "job" / "ranks").exists()
    assert {path.name for path in tmp_path.iterdir() if path.is_dir()} == {"cache", "job"}


def test_processes_that_are_asked_to_stop_go_on_where_they_stopped(alone, cache, tmp_path):
    """SIGTERM reaches the command alone; what was begun by two processes is continued by two."""

    def stop(process: subprocess.Popen[str]) -> None:
        while not list(cache.glob("tmp/*/.work/checkpoints/step-*")) and process.poll() is None:
            time.sleep(0.01)
        process.terminate()

    options = ("trainer=ddp", "trainer.devices=2", "trainer.checkpoint_every_s=0", "hydra.run.dir=job")
    stopped = _run(tmp_path, cache, *options, meanwhile=stop)
    assert stopped.returncode == 143, stopped.stderr[-4000:]
    assert "was asked to stop" in stopped.stderr
    done = _run(tmp_path, cache, *options)
    assert done.returncode == 0, done.stderr[-4000:]
    assert "goes on after step" in done.stderr
    _compare(alone[0], tmp_path / "job")


def test_wrong_numbers_of_processes_are_said_at_once(tmp_path):
    many = _run(tmp_path, tmp_path / "cache", "trainer=ddp", "trainer.nodes=2", "hydra.run.dir=job")
    assert many.returncode == 2
    assert "srun" in many.stderr
    assert "torchrun" in many.stderr
    assert "Traceback" not in many.stderr
