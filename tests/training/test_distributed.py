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
TIMEOUT_S = 300


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _run(folder: Path, ranks: int) -> None:
    """Runs ranks.py in that many processes, as torchrun would."""
    folder.mkdir()
    port = str(_free_port())
    processes = []
    for rank in range(ranks):
        where = {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(ranks), "LOCAL_WORLD_SIZE": str(ranks)}
        where |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "TORCHELASTIC_RUN_ID": "test", "GROUP_RANK": "0"}
        command = [sys.executable, str(Path(__file__).with_name("ranks.py")), str(folder)]
        environment = {**os.environ, **(where if ranks > 1 else {})}
        processes.append(subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT))
    outputs = [process.communicate(timeout=TIMEOUT_S)[0].decode() for process in processes]
    assert all(process.returncode == 0 for process in processes), "\n".join(outputs)


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> dict[int, Path]:
    folder = tmp_path_factory.mktemp("ranks")
    for ranks in (1, 2):
        _run(folder / str(ranks), ranks)
    return {ranks: folder / str(ranks) for ranks in (1, 2)}


@pytest.mark.parametrize("size", [5, 1])
@pytest.mark.parametrize("method", METHODS)
def test_two_ranks_do_what_one_does(runs, method, size):
    one, two = (json.loads((runs[ranks] / f"{method}-{size}.json").read_text()) for ranks in (1, 2))
    assert one.keys() == two.keys()
    for name, value in one.items():
        assert two[name] == pytest.approx(value, rel=2e-4, abs=1e-5), name
    one, two = (load_file(runs[ranks] / f"{method}-{size}.safetensors") for ranks in (1, 2))
    for name, value in one.items():
        # AdamW turns the rounding of a gradient near zero into a step of its own size; the mean shows none of that.
        assert (value - two[name]).abs().mean() < 1e-6, name


def test_the_comparison_can_fail(runs):
    """Negative control: the two batch sizes are different trainings, far outside of what is called equal."""
    one, other = (load_file(runs[1] / f"dpo-{size}.safetensors") for size in (5, 1))
    assert max((value - other[name]).abs().mean() for name, value in one.items()) > 1e-5
