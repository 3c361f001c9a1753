"""The harness that kills stages: what it draws, counts and compares, on stores that are made by hand."""

import argparse
import json
import random
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import soak, soak_tables, tables
from benchmarks.faults_list import FAULTS
from benchmarks.faults_scene import Outcome
from benchmarks.soak_cases import CASES, chosen
from benchmarks.soak_compare import differences, leftovers
from benchmarks.soak_kill import Attempt, Left, Measured, Point, draw, left_in, went_on
from benchmarks.soak_launch import SITE
from benchmarks.soak_trial import Reference, Trial, clone, faults_of, points_of

MEASURED = Measured(key="k", seconds=4.0, calls=90, advances=7, steps=5, results=0)
ROWS = "step,metric,value,seconds\n1,loss,0.5,{}\n"


def store(folder: Path, *, seconds: str = "1.0", loss: str = "0.5", weights: bytes = b"weights", **more: str) -> Path:
    artifact = folder / "rl" / "k"
    (artifact / "model").mkdir(parents=True)
    (artifact / "model" / "model.safetensors").write_bytes(weights)
    (artifact / "rows.csv").write_text(ROWS.format(seconds).replace("0.5", loss))
    manifest = {"seed": 0, "seconds": float(seconds), "made_at": seconds, "attempts": 1, "files": {}, **more}
    (artifact / "manifest.json").write_text(json.dumps(manifest))
    return folder


def test_times_may_differ(tmp_path):
    one, other = store(tmp_path / "one"), store(tmp_path / "other", seconds="9.9", attempts="3")
    assert differences(one, other) == []


@pytest.mark.parametrize(
    ("change", "file"),
    [
        ({"weights": b"weightt"}, "model/model.safetensors"),
        ({"loss": "0.50000001"}, "rows.csv"),
        ({"seed": "1"}, "manifest.json"),
    ],
)
def test_whatever_else_differs_is_found(tmp_path, change, file):
    one, other = store(tmp_path / "one"), store(tmp_path / "other", **change)
    assert differences(one, other) == [f"rl/k/{file}: differs"]


def test_files_and_artifacts_that_only_one_has_are_found(tmp_path):
    one, other = store(tmp_path / "one"), store(tmp_path / "other")
    (one / "rl" / "k" / ".hidden").touch()
    (other / "base" / "b").mkdir(parents=True)
    assert differences(one, other) == ["base/b: is missing", "rl/k/.hidden: only in one"]


def test_leftovers_are_found_but_not_locks_of_finished_stages_or_of_every_run(tmp_path):
    one, other = store(tmp_path / "one"), store(tmp_path / "other")
    for folder, names in ((one, ("a", "b", "k.1.lease")), (other, ("a",))):
        (folder / "locks").mkdir()
        for name in names:
            (folder / "locks" / name).touch()
    (one / "tmp" / "k-1").mkdir(parents=True)
    assert leftovers(one, other) == ["tmp/k-1 is left", "locks/b is left"]


def test_a_clone_lacks_the_stage_and_shares_the_rest(tmp_path):
    one = store(tmp_path / "one")
    (one / "base" / "b").mkdir(parents=True)
    (one / "base" / "b" / "file").touch()
    clone(one, tmp_path / "clone", without=["rl/k"])
    assert [path.name for path in (tmp_path / "clone").iterdir()] == ["base"]
    assert (tmp_path / "clone" / "base" / "b" / "file").samefile(one / "base" / "b" / "file")


def test_moments_are_the_same_for_a_seed_and_differ_between_trials(tmp_path):
    reference = Reference(CASES[1], tmp_path, MEASURED)
    assert points_of(reference, 0, 5) == points_of(reference, 0, 5)
    assert len({str(points_of(reference, 0, number)) for number in range(20)}) > 10
    assert {point.how for n in range(60) for point in points_of(reference, 0, n)} == {
        *("time", "event", "call", "checkpoint", "publish")
    }


def test_moments_lie_within_the_stage():
    for number in range(200):
        for point in draw(random.Random(number), MEASURED, 3):
            most = {"time": 1.0, "event": 7, "call": 90, "checkpoint": 5, "publish": 30}[point.how]
            assert 0 <= point.at <= most


def test_a_stage_without_checkpoints_or_progress_is_killed_at_other_moments():
    bare = Measured(key="k", seconds=0.1, calls=9, advances=0, steps=0, results=0)
    points = [point for number in range(50) for point in draw(random.Random(number), bare, 3)]
    assert {point.how for point in points} == {"time", "call", "publish"}


def test_what_a_killed_stage_leaves_is_counted(tmp_path):
    work = tmp_path / "k-token" / ".work"
    for step, whole in ((1, True), (2, True), (3, False)):
        folder = work / "checkpoints" / f"{'' if whole else '.'}step-{step:08d}"
        folder.mkdir(parents=True)
        (folder / ("checksums.json" if whole else "state.ckpt")).touch()
    (work / "answers").write_bytes(b"one\ntwo\nhal")
    assert left_in(tmp_path) == Left(step=2, results=2)
    assert left_in(tmp_path / "nothing") == Left()
    for folder, kind, complete in (("r-token", "reference", False), ("k-token", "coldstart", True)):
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / "manifest.json").write_text(f'{{"kind": "{kind}"}}')
        assert left_in(tmp_path).complete == complete


def test_the_step_that_a_run_goes_on_after_is_read_from_its_messages():
    assert went_on(["base: made in 0.1 s", "target: goes on after step 12"]) == 12
    assert went_on(["target: the checkpoint of step 3 is damaged"]) == 0


def trial(tmp_path: Path, first: Attempt, last: Attempt, results: int = 0) -> list[str]:
    """The faults of a trial whose files are as they should be."""
    measured = Measured(key="k", seconds=1.0, calls=9, advances=1, steps=5, results=results)
    reference = Reference(CASES[1], tmp_path, measured)
    store(tmp_path / "store")
    return faults_of(Trial(0, "rl", [first, last]), reference, store(tmp_path / "again"))


KILLED = Attempt(Point("time", 0.5), code=-9, killed=True, left=Left(step=3))


def test_a_stage_that_goes_on_has_no_fault(tmp_path):
    assert trial(tmp_path, KILLED, Attempt(None, went_on=3, first_step=4)) == []


def test_a_stage_that_starts_over_although_a_checkpoint_is_there_is_found(tmp_path):
    assert trial(tmp_path, KILLED, Attempt(None, first_step=1)) == [
        "attempt 1 goes on after step 0, not 3",
        "attempt 1 repeats step 1",
    ]


def test_results_that_are_made_twice_or_lost_are_found(tmp_path):
    first = Attempt(Point("time", 0.5), code=-9, killed=True, left=Left(results=4), results=4)
    assert trial(tmp_path / "right", first, Attempt(None, results=4), results=8) == []
    assert "made twice" in trial(tmp_path / "twice", first, Attempt(None, results=8), results=8)[0]
    assert "lost" in trial(tmp_path / "lost", first, Attempt(None, results=2), results=8)[0]


def test_a_run_that_fails_is_found(tmp_path):
    assert trial(tmp_path, KILLED, Attempt(None, code=1)) == ["attempt 1 ends with code 1"]


COUNTED = """
import os, sys
sys.path.insert(0, sys.argv[1])
import soak_child
draft = sys.argv[2]
os.mkdir(draft)
soak_child.install({"SOAK_DRAFT": draft + "/", "SOAK_CALLS": sys.argv[3], "SOAK_KILL_AT": sys.argv[4]})
os.mkdir(f"{draft}/one")
open(f"{draft}/one/file", "w").close()
open(f"{draft}/one/file").close()
folder = os.open(f"{draft}/one", os.O_RDONLY)
os.rename(f"{draft}/one/file", f"{draft}/one/other")
os.unlink("other", dir_fd=folder)
"""


@pytest.mark.parametrize(("at", "code", "left"), [(0, 0, set()), (3, -9, {"file"}), (4, -9, {"other"})])
def test_a_process_is_killed_just_before_the_call_that_is_named(tmp_path, at, code, left):
    draft, calls = tmp_path / "draft", tmp_path / "calls"
    command = [sys.executable, "-c", COUNTED, str(SITE), str(draft), str(calls), str(at)]
    done = subprocess.run(command, check=False, start_new_session=True, timeout=60)
    assert done.returncode == code
    assert {path.name for path in (draft / "one").iterdir()} == left
    assert [line.split()[0] for line in calls.read_text().splitlines()] == [
        *("os.mkdir", "open", "os.rename", "os.remove")
    ][: at or 4]


def test_stages_are_chosen_by_name_and_kind():
    assert [case.name for case in chosen("coldstart,base")] == ["base", "sft", "dpo", "hybrid_lora"]
    with pytest.raises(SystemExit, match="no stage nope"):
        chosen("nope")


def test_every_kind_of_stage_is_killed():
    from specs_lab.stages.kinds import KINDS

    assert {case.kind for case in CASES} == set(KINDS)


def test_every_stage_of_the_matrix_is_known():
    assert {name for fault in FAULTS for name in fault.stages} <= {case.name for case in CASES}


def results(tmp_path: Path, faults: list[str]) -> dict:
    """As the soak writes them, after one trial with one kill."""
    one = Trial(0, "rl", [KILLED, Attempt(None, went_on=3, last_call="open x")], faults)
    given = argparse.Namespace(seed=0, zygote=True)
    return soak.results([one.as_json()], [Reference(CASES[1], tmp_path, MEASURED)], given, 1.0)


def test_the_table_of_a_soak_has_a_row_for_each_stage(tmp_path):
    text = tables.table(results(tmp_path, []))
    assert "| rl | 4.0 | 1 | 1 | 1 | 0 | 0 | 1 of 1 |" in text
    assert "1 kills" in text


def test_a_trial_that_failed_stands_out(tmp_path):
    found = results(tmp_path, ["rl/k/rows.csv: differs"])
    assert found["failures"][0]["points"] == [{"how": "time", "at": 0.5, "delay_s": 0.0}]
    assert "**0 of 1**" in tables.table(found)


def matrix() -> dict:
    """As the fault matrix is written: a cell that is as it should be, one that is not, one that could not be made."""
    good = Outcome("SIGKILL", "rl", code=-9, said="goes on", again="nothing", same=True)
    bad = Outcome("disk full", "rl", code=1, said="OSError: no|room", faults=["rl/k/rows.csv: differs"])
    unmade = Outcome("disk full", "sft", said="not made here: no right", again="?")
    return {
        "kind": "faults",
        "machine": {"cpu": "a CPU", "python": "3", "versions": {}},
        "settings": {"threads": 1},
        "cells": [vars(good), vars(bad), vars(unmade)],
    }


def test_the_matrix_has_a_row_for_each_fault_and_a_column_for_each_stage():
    text = tables.table(matrix())
    assert "**1 of 2** cells" in text
    assert "1 not made here" in text
    assert "| SIGKILL | nothing |  |" in text
    assert "| disk full | **rl/k/rows.csv: differs** | not made |" in text


def test_the_long_table_says_what_each_cell_said():
    text = soak_tables.long_table(matrix())
    assert "| SIGKILL | rl | -9 | goes on |  | nothing | yes |" in text
    assert "| disk full | rl | 1 | OSError: no\\|room |  | **rl/k/rows.csv: differs** | **no** |" in text
    assert "sft" not in text


def test_the_documentation_has_the_matrix_of_the_results_file():
    results = json.loads(soak_tables.RESULTS.read_text(encoding="utf-8"))
    text = soak_tables.DOCS.read_text(encoding="utf-8")
    content = soak_tables.long_table(results)
    assert tables.insert(text, "faults", content) == text, "run: python -m benchmarks.soak_tables"
