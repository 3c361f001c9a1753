"""Two ranks do what one does: metrics, gradients and weights, with uneven shares and a rank without any."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file

METHODS = ("sft", "dpo", "hybrid", "grpo")
STRATEGIES = ("ddp", "fsdp2")
TIMEOUT_S = 300


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _start(ranks: int, script: str, *arguments: str) -> list[tuple[int, str]]:
    """Runs a script of this folder in that many processes, as torchrun would; exit code and output of each."""
    port = str(_free_port())
    processes = []
    for rank in range(ranks):
        where = {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(ranks), "LOCAL_WORLD_SIZE": str(ranks)}
        where |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "TORCHELASTIC_RUN_ID": "test", "GROUP_RANK": "0"}
        command = [sys.executable, str(Path(__file__).with_name(script)), *arguments]
        environment = {**os.environ, **(where if ranks > 1 else {})}
        processes.append(subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT))
    try:
        outputs = [process.communicate(timeout=TIMEOUT_S)[0].decode() for process in processes]
    finally:
        for process in processes:
            process.kill()
    return [(process.returncode, output) for process, output in zip(processes, outputs, strict=True)]


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> dict[str, Path]:
    """Folders of results by strategy."""
    folders = {}
    for strategy in ("single", *STRATEGIES):
        folders[strategy] = tmp_path_factory.mktemp(strategy)
        ended = _start(1 if strategy == "single" else 2, "ranks.py", str(folders[strategy]), strategy)
        assert all(code == 0 for code, _ in ended), "\n".join(output for _, output in ended)
    return folders


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


def test_a_training_goes_on_under_another_strategy(runs, tmp_path):
    """What ranks have written together, one process can load."""
    ended = _start(1, "ranks.py", str(tmp_path), "single", str(runs["fsdp2"] / "again" / "one.ckpt"))
    assert ended[0][0] == 0, ended[0][1]
    straight, moved = (load_file(path / "dpo-5.safetensors") for path in (runs["single"], tmp_path))
    assert all((value - moved[name]).abs().mean() < 2e-6 for name, value in straight.items())


def test_the_comparison_can_fail(runs):
    """Negative control: the two batch sizes are different trainings, far outside of what is called equal."""
    one, other = (load_file(runs["single"] / f"dpo-{size}.safetensors") for size in (5, 1))
    assert max((value - other[name]).abs().mean() for name, value in one.items()) > 1e-5


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("sleeps", "rank 1 did not come within 3 s: the others wait at step 2"),
        ("dies", "rank 1 has gone: the others wait at step 2"),
        ("fails", "rank 1: ValueError: the disk of rank 1 is full"),
    ],
)
def test_a_lost_rank_is_named_and_the_others_end(how, said):
    (code, output), (lost, _) = _start(2, "lost_rank.py", how)
    assert said in output
    assert code in (1, 75)
    assert lost != 0
