"""The whole study, shrunken, by its own command: stages shared, results written, nothing done twice."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from specs_lab.models.vlm import VLM

pytestmark = pytest.mark.e2e
ARMS = ("sft", "dpo", "hybrid")


def _run(folder: Path, cache: Path, *overrides: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "specs_lab.run", *overrides],
        cwd=folder,
        env={**os.environ, "SPECS_LAB_CACHE": str(cache)},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


def _jobs(sweep: Path) -> list[dict]:
    return [json.loads(path.read_text()) for path in sorted(sweep.glob("*/job.json"))]


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A shrunken sweep and its rerun, on one store."""
    folder, cache = tmp_path_factory.mktemp("study"), tmp_path_factory.mktemp("cache")
    command = ("-m", f"coldstart={','.join(ARMS)}", "experiment=smoke", "logger=offline")
    first = _run(folder, cache, *command, "hydra.sweep.dir=first")
    assert first.returncode == 0, first.stderr[-4000:]
    second = _run(folder, cache, *command, "hydra.sweep.dir=second")
    assert second.returncode == 0, second.stderr[-4000:]
    return folder, cache, first, second


def test_zero_and_pairs_are_made_once_for_all_arms(study):
    folder, cache, *_ = study
    jobs = _jobs(folder / "first")
    assert sorted(job["arm"] for job in jobs) == sorted(ARMS)
    for stage in ("base", "zero", "pairs", "evaluate_base", "evaluate_zero"):
        assert len({job["stages"][stage]["key"] for job in jobs}) == 1
        assert sum(not job["stages"][stage]["cached"] for job in jobs) == 1
    for stage in ("cold", "final", "evaluate_final"):
        assert len({job["stages"][stage]["key"] for job in jobs}) == len(ARMS)
    assert len(list((cache / "reference").iterdir())) == 1  # shared by dpo and hybrid


def test_a_second_run_does_nothing_and_says_the_same(study):
    folder, *_ = study
    assert all(stage["cached"] for job in _jobs(folder / "second") for stage in job["stages"].values())
    one, two = ((folder / name / "summary.csv").read_text() for name in ("first", "second"))
    assert one == two


def test_the_summary_has_what_the_study_is_about(study):
    folder, _, first, _ = study
    with (folder / "first" / "summary.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["arm"] for row in rows} >= set(ARMS)
    assert {"gf_format_raw", "gf_joint_raw", "gf_joint_gain"} <= {row["metric"] for row in rows}
    assert {"equal steps", "equal compute"} <= {row["at"] for row in rows}
    json.loads((folder / "first" / "summary.json").read_text())
    for name in ("curves.png", "curves.svg", "rl.png"):
        assert (folder / "first" / name).stat().st_size > 10_000
    for arm in ARMS:
        assert arm in first.stdout


def test_the_curve_covers_every_cell_and_its_budget_grows(study):
    folder, *_ = study
    for job in _jobs(folder / "first"):
        with (Path(job["stages"]["cold"]["folder"]) / "rows.csv").open() as file:
            rows = list(csv.DictReader(file))
        curve = [row for row in rows if row["metric"] == "joint"]
        assert {row["cell"] for row in curve} == {
            "id",
            "ood_instruction",
            "ood_family",
            "ood_style",
            "ood",
            "alternative_format",
        }
        tokens = [int(row["tokens"]) for row in curve if row["cell"] == "id"]
        assert tokens == sorted(set(tokens))
        assert len(tokens) >= 2


def test_loggers_wrote_one_run_a_trained_stage(study):
    folder, *_ = study
    runs = list((folder / "first").glob("*/logs/wandb/offline-run-*"))
    assert len(runs) == 4 + 3 * len(ARMS)  # zero, pairs and two evaluations once; cold, final, evaluation for each arm
    assert len(list((folder / "first").glob("*/logs/cold/version_0/metrics.csv"))) == len(ARMS)


def test_trained_models_are_plain_hugging_face_folders(study):
    folder, *_ = study
    for job in _jobs(folder / "first"):
        vlm = VLM.load(Path(job["stages"]["final"]["folder"]) / "model")
        assert vlm.num_parameters > 100_000


def test_wrong_input_exits_2_with_all_faults_and_writes_nothing(tmp_path):
    done = _run(tmp_path, tmp_path / "cache", "coldstart.lrr=1", "rl.steps=many", "suite.n=0", "coldstart.beta=-1")
    assert done.returncode == 2
    for part in ("coldstart.lrr", "rl.steps", "suite.n", "coldstart.beta", "fix:"):
        assert part in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())
