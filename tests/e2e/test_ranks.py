"""A study by two processes, started by its own command, has the rows of one by one process."""

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.e2e
TIMEOUT_S = 600


def _run(folder: Path, cache: Path, *overrides: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "specs_lab.run", "experiment=smoke", "coldstart=dpo", *overrides],
        cwd=folder,
        env={**os.environ, "SPECS_LAB_CACHE": str(cache)},
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )


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


@pytest.mark.parametrize("strategy", ["ddp", "fsdp2"])
def test_two_processes_make_the_study_of_one(alone, tmp_path, strategy):
    job, first_cache = alone
    cache = tmp_path / "cache"
    shutil.copytree(first_cache, cache)
    stages = json.loads((job / "job.json").read_text())["stages"]
    for name in ("cold", "final", "evaluate_final"):  # these are made again; what comes before is found
        shutil.rmtree(cache / stages[name]["kind"] / stages[name]["key"])
    shutil.rmtree(cache / "reference")
    done = _run(tmp_path, cache, f"trainer={strategy}", "trainer.devices=2", "hydra.run.dir=job")
    assert done.returncode == 0, done.stderr[-4000:]
    mine = json.loads((tmp_path / "job" / "job.json").read_text())
    made = {name for name, stage in mine["stages"].items() if not stage["cached"]}
    assert made == {"cold", "final", "evaluate_final"}
    for name in made:
        one, two = _rows(job, name), _rows(tmp_path / "job", name)
        assert one.keys() == two.keys()
        for key, value in one.items():
            assert two[key] == pytest.approx(value, rel=1e-3, abs=1e-5), (name, key)
    assert done.stderr.count("final: made in") == 1  # one process speaks
    assert not (tmp_path / "job" / "ranks").exists()
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] in (["cache", "job"], ["job", "cache"])


def test_wrong_numbers_of_processes_are_said_at_once(tmp_path):
    many = _run(tmp_path, tmp_path / "cache", "trainer=ddp", "trainer.nodes=2", "hydra.run.dir=job")
    assert many.returncode == 2
    assert "srun" in many.stderr
    assert "torchrun" in many.stderr
    assert "Traceback" not in many.stderr
