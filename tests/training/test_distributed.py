"""Two ranks do what one does: metrics, gradients and weights, with uneven shares and a rank without any."""

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from safetensors.torch import load_file

METHODS = ("sft", "dpo", "hybrid", "grpo")
STRATEGIES = ("ddp", "fsdp2")
TIMEOUT_S = 300


def _run(script: str, folder: Path) -> str:
    """Runs a script of this folder, and with it the ranks that it starts; returns what it prints."""
    command = [sys.executable, str(Path(__file__).with_name(script)), str(folder)]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        said, errors = process.communicate(timeout=TIMEOUT_S)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert process.returncode == 0, errors[-8000:]
    return said


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Where the results of all strategies are."""
    made = tmp_path_factory.mktemp("ranks")
    _run("ranks.py", made)
    return made


@pytest.fixture
def runs(folder) -> dict[str, Path]:
    """Folders of results by strategy."""
    return {strategy: folder / strategy for strategy in ("single", *STRATEGIES)}


@pytest.mark.parametrize("size", [5, 1])
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_two_ranks_do_what_one_does(runs, strategy, method, size):
    one, two = (json.loads((runs[name] / f"{method}-{size}.json").read_text()) for name in ("single", strategy))
    assert list(one) == list(two)
    for name, value in one.items():
        assert two[name] == pytest.approx(value, rel=2e-4, abs=1e-5), name
    one, two = (load_file(runs[name] / f"{method}-{size}.safetensors") for name in ("single", strategy))
    assert one.keys() == two.keys()
    for name, value in one.items():
        # AdamW turns the rounding of a gradient near zero into a step of its own size; the mean shows none of that.
        assert (value - two[name]).abs().mean() < 2e-6, name


@pytest.mark.parametrize("strategy", ["single", *STRATEGIES])
def test_a_training_goes_on_from_its_checkpoint_bit_for_bit(runs, strategy):
    straight, again = (load_file(runs[strategy] / part / "dpo-5.safetensors") for part in (".", "again"))
    assert all(value.equal(again[name]) for name, value in straight.items())


def test_a_training_goes_on_under_another_strategy(runs, folder):
    """What ranks have written together, one process can load."""
    straight, moved = (load_file(path / "dpo-5.safetensors") for path in (runs["single"], folder / "moved"))
    assert all((value - moved[name]).abs().mean() < 2e-6 for name, value in straight.items())


def test_who_runs_out_of_memory_while_others_wait_for_its_share_is_named(folder):
    assert all(json.loads((folder / "exhausted.json").read_text()))
    assert "process 1: memory ran out; processes that share a model" in (folder / "exhausted.1").read_text()


def test_the_comparison_can_fail(runs):
    """Negative control: the two batch sizes are different trainings, far outside of what is called equal."""
    one, other = (load_file(runs["single"] / f"dpo-{size}.safetensors") for size in (5, 1))
    assert max((value - other[name]).abs().mean() for name, value in one.items()) > 1e-5


@pytest.fixture(scope="module")
def lost(tmp_path_factory) -> tuple[Path, dict[str, list[int]]]:
    """Where ranks that were lost, and those that waited for them, have left their last words; their exit codes."""
    made = tmp_path_factory.mktemp("lost")
    return made, json.loads(_run("lost_rank.py", made))


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("sleeps", "rank 1 did not come within 3 s: the others wait at step 2"),
        ("dies", "rank 1 has gone: the others wait at step 2"),
        ("fails", "rank 1: ValueError: the disk of rank 1 is full"),
    ],
)
def test_a_lost_rank_is_named_and_the_others_end(lost, how, said):
    folder, codes = lost
    assert said in (folder / f"{how}.0").read_text()
    assert codes[how][0] in (1, 75)
    assert codes[how][1] != 0


def test_where_one_rank_is_asked_to_stop_all_do_and_none_before_the_checkpoint_is_there(lost):
    folder, codes = lost
    assert codes["is asked to stop"] == [143, 143]
    for rank in range(2):
        assert "leaves with the checkpoint of step 7" in (folder / f"is asked to stop.{rank}").read_text()
