"""Ten kills at random moments: every stage ends as if nothing had happened, and a harness that would see if not."""

import hashlib
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path

import pytest
import torch

from benchmarks.soak_cases import chosen
from benchmarks.soak_kill import Point
from benchmarks.soak_launch import Launcher, Zygotes, snapshot
from benchmarks.soak_trial import Reference, carry_out_trial, make_reference, points_of

pytestmark = pytest.mark.e2e
KILLS = 10
STAGES = "rl,sft"

Bench = tuple[Launcher, list[Reference], Path]


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """Processes to fork from, and stages that ran without interruption."""
    work = tmp_path_factory.mktemp("soak")
    with Zygotes(snapshot(work / "site")) as launcher, ThreadPoolExecutor(2) as pool:
        cases = [case for case in chosen(STAGES) if "lora" not in case.name]
        yield launcher, list(pool.map(lambda case: make_reference(case, launcher, work), cases)), work


def test_ten_kills_at_random_moments_change_nothing(bench: Bench) -> None:
    launcher, references, work = bench

    def one(number: int):
        reference = references[number % len(references)]
        return carry_out_trial(launcher, reference, points_of(reference, 7, number), number, work)

    trials, numbers = [], count()
    with ThreadPoolExecutor(2) as pool:
        while (missing := KILLS - sum(trial.kills for trial in trials)) > 0:
            trials += pool.map(one, [next(numbers) for _ in range(max(1, missing // 2))])
    assert {trial.number: trial.faults for trial in trials if trial.faults} == {}
    assert any(attempt.went_on for trial in trials for attempt in trial.attempts)


def _in_newest_checkpoint(change: Callable[[dict], None]) -> Callable[[Path], None]:
    """Changes a checkpoint and makes its checksum right again, as no accident would."""

    def tamper(store: Path) -> None:
        folder = max(store.glob("tmp/*/.work/checkpoints/step-*"))
        state = torch.load(folder / "state.ckpt", weights_only=True)
        change(state)
        torch.save(state, folder / "state.ckpt")
        sums = json.loads((folder / "checksums.json").read_text())
        sums["state.ckpt"] = hashlib.sha256((folder / "state.ckpt").read_bytes()).hexdigest()
        (folder / "checksums.json").write_text(json.dumps(sums))

    return tamper


def _nudge_a_weight(state: dict) -> None:
    next(iter(state["state_dict"].values())).view(-1)[0] += 1e-3


def _forget_the_optimizer(state: dict) -> None:
    for one in state["optimizer_states"][0]["state"].values():
        one["exp_avg"].zero_()


@pytest.mark.parametrize("change", [_nudge_a_weight, _forget_the_optimizer])
def test_a_resumption_that_is_broken_is_seen(bench: Bench, change: Callable[[dict], None]) -> None:
    launcher, references, work = bench
    reference = next(one for one in references if one.case.kind == "rl")
    points = [Point("checkpoint", 3)]
    trial = carry_out_trial(launcher, reference, points, 1000, work, _in_newest_checkpoint(change))
    assert trial.attempts[-1].went_on
    assert f"rl/{reference.measured.key}/model/model.safetensors: differs" in trial.faults
