"""Faults of a training in real processes: weights that overflow, and memory that the system does not give."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.e2e


def _run(*command: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *command],
        cwd=cwd,
        env={**os.environ, "SPECS_LAB_CACHE": str(cwd / "cache")},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    """Four pairs without pictures."""
    path = tmp_path / "pairs.jsonl"
    lines = [
        {"id": f"pair-{i}", "images": [], "prompt": f"what is {i} and {i}", "chosen": f"<think> </think> {2 * i}"}
        for i in range(4)
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_weights_that_overflow_stop_a_study_after_so_many_skips(tmp_path: Path, pairs: Path) -> None:
    """The first step makes weights of 1e30; the second is left out, the third stops the stage."""
    done = _run(
        *("-m", "specs_lab.run", "experiment=smoke", "recipe=cold_only", "logger=none", "hydra.run.dir=job"),
        *("coldstart=sft", "coldstart.lr=1e30", "coldstart.steps=4", "coldstart.warmup_steps=0", "suite.n=2"),
        *("data=file", f"data.path={pairs}", "data.rejected=false", "data.pairs=4", "coldstart.batch_size=4"),
        *("trainer.on_nan=skip", "trainer.nan_skips=1"),
        cwd=tmp_path,
    )
    assert done.returncode == 2, done.stderr[-4000:]
    assert "Traceback" not in done.stderr
    path = tmp_path / "job" / "logs" / "cold" / "non_finite.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["step"] for line in lines] == [2] * 4 + [3] * 4
    assert {line["id"] for line in lines} == {f"pair-{i}" for i in range(4)}
    assert {line["what"] for line in lines} <= {"loss", "gradient"}
    error = done.stderr[done.stderr.index("1 problem with the input") :]
    for part in ("stage cold, step 3", "pair-0", "the weights are to blame", str(path), "lower the learning rate"):
        assert part in error
    assert "stage cold, step 2: the update is left out" in done.stderr
    job = json.loads((tmp_path / "job" / "job.json").read_text())
    assert job["status"] == "failed"
    assert not list((tmp_path / "cache").glob("coldstart/*"))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux counts a process's address space so")
def test_a_training_goes_on_in_the_memory_that_it_is_given(tmp_path: Path) -> None:
    """The whole step needs about 170 MiB more, but gets 80; it ends as with small micro-batches from the start."""
    done = _run(str(Path(__file__).with_name("out_of_memory.py")), "80", cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-4000:]
    result = json.loads(done.stdout.splitlines()[-1])
    assert 1 <= len(result["told"]) <= 4
    assert "memory ran out; trainer.micro_batch_tokens is" in result["told"][0]
    assert result["metrics"]["train/micro_batch_tokens"] < 300 * 16
    assert result["equal"]
    assert result["updates"] == [2, 2]
