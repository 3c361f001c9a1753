import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from specs_lab.run import main

RECIPE = """
# Copies the base model, which needs no model that works.
defaults:
  - /schema/recipe@_here_: recipe
  - _self_
stages:
  base: {kind: base}
"""


@pytest.fixture(autouse=True)
def keep_signal_handler() -> Iterator[None]:
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


def _main(monkeypatch: pytest.MonkeyPatch, arguments: list[str]) -> int:
    monkeypatch.setattr(sys, "argv", ["specs-lab", *arguments])
    try:
        main()
    except SystemExit as error:
        return int(error.code or 0)
    return 0


def _run(folder: Path, arguments: list[str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "specs_lab.run", *arguments]
    return subprocess.run(command, cwd=folder, env=os.environ, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("sweep", [[], ["-m"]])
def test_faults_are_printed_together_and_nothing_is_written(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    fake_model: list[str],
    sweep: list[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    code = _main(monkeypatch, [*sweep, *fake_model, "coldstart=dppo", "rl.lrr=1", "suite.n=0"])
    said = capsys.readouterr()
    assert code == 2
    assert "3 problems with the input" in said.err
    for where in ("coldstart:", "rl.lrr:", "suite.n:"):
        assert where in said.err
    assert "Traceback" not in said.err
    assert list(tmp_path.iterdir()) == []


def test_cfg_prints_the_composed_configuration(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    assert _main(monkeypatch, ["--cfg", "job", "coldstart=sft", "seed=3"]) == 0
    shown = yaml.safe_load(capsys.readouterr().out)
    assert shown["seed"] == 3
    assert shown["coldstart"]["sft_norm"] == "token"
    assert "hydra" not in shown
    assert list(tmp_path.iterdir()) == []


def test_help_lists_the_choices(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert _main(monkeypatch, ["--help"]) == 0
    shown = capsys.readouterr().out
    assert "hybrid" in shown
    assert "$SPECS_LAB_CACHE" in shown
    assert "schema" not in shown


@pytest.mark.e2e
def test_a_sweep_runs_every_job_though_one_fails(tmp_path: Path, fake_model: list[str]) -> None:
    (tmp_path / "own" / "recipe").mkdir(parents=True)
    (tmp_path / "own" / "recipe" / "copy.yaml").write_text(RECIPE)
    fixed = [*fake_model, "experiment=smoke", "hydra.sweep.dir=sweep", "hydra.launcher.n_jobs=1"]
    done = _run(tmp_path, ["-m", "--config-dir=own", *fixed, "recipe=zero,copy"])
    jobs = [json.loads(path.read_text()) for path in sorted((tmp_path / "sweep").glob("*/job.json"))]
    assert done.returncode == 1
    assert [(job["job"], job["name"], job["status"]) for job in jobs] == [
        (0, "zero", "failed"),
        (1, "copy", "completed"),
    ]
    assert "1 of 2 jobs failed: zero" in done.stderr
    assert "zero: failed with exit code 2" in done.stderr  # its model is none
    assert "copy | completed" in done.stderr
    assert (tmp_path / "sweep" / "1_recipe=copy" / "job.log").is_file()
    assert (tmp_path / "sweep" / "summary.json").is_file()


@pytest.mark.e2e
def test_a_single_run_leaves_its_record(tmp_path: Path, fake_model: list[str]) -> None:
    (tmp_path / "own" / "recipe").mkdir(parents=True)
    (tmp_path / "own" / "recipe" / "copy.yaml").write_text(RECIPE)
    done = _run(tmp_path, ["--config-dir=own", *fake_model, "recipe=copy", "hydra.run.dir=out"])
    assert done.returncode == 0, done.stderr
    record = json.loads((tmp_path / "out" / "job.json").read_text())
    assert (record["status"], record["seed"], list(record["stages"])) == ("completed", 0, ["base"])
