import subprocess
import sys

import pytest

from specs_lab.cli import room
from specs_lab.cli.room import Needs, Room, available_cores, resident, visible_gpus
from specs_lab.preflight.device import Memory

GB = 10**9


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> dict[int, int]:
    """What processes are said to take, by their ids."""
    bytes_of: dict[int, int] = {}
    monkeypatch.setattr(room, "resident", bytes_of.__getitem__)
    return bytes_of


@pytest.mark.parametrize(
    ("needed", "takes", "has"),
    [(3 * GB, 0, True), (5 * GB, 0, False), (3 * GB, 8 * GB, False), (0, 8 * GB, True)],
    ids=["fits", "estimates together are too much", "a job takes more than estimated", "nobody knows what it needs"],
)
def test_a_job_has_room_beside_what_others_need_or_take(
    taken: dict[int, int], needed: int, takes: int, has: bool
) -> None:
    taken[7] = takes
    assert Room(10 * GB).has(Needs(memory=needed), {7: Needs(memory=6 * GB)}) is has


def test_a_job_alone_always_has_room() -> None:
    assert Room(1).has(Needs(memory=GB), {})


def test_without_a_budget_what_is_free_counts(taken: dict[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    taken[7] = 2 * GB
    monkeypatch.setattr(room, "main_memory", lambda: Memory(kind="cpu", name="", total=32 * GB, free=8 * GB))
    running = {7: Needs(memory=3 * GB)}  # of 10 GB, 3 are its own
    assert Room().has(Needs(memory=7 * GB), running)
    assert not Room().has(Needs(memory=7 * GB + 1), running)


def test_gpus_are_shared_out_once_there_are_several() -> None:
    one, several = Room(limited=False, gpus=["0"]), Room(limited=False, gpus=["2", "3"])
    needs = Needs(on_gpu=True)
    assert one.take_gpus(needs) == []
    assert one.has(needs, {7: needs})  # who asks for several jobs on one GPU gets them
    first = several.take_gpus(needs)
    second = several.take_gpus(needs)
    assert [*first, *second] == ["2", "3"]
    assert not several.has(needs, {7: needs, 8: needs})
    several.give_back(first)
    assert several.has(needs, {8: needs})


def test_what_a_process_takes_includes_what_it_has_started() -> None:
    hold = "block = bytearray(64 << 20); print(flush=True); input()"
    outer = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {hold!r}], start_new_session=True)"
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", outer], stdin=pipe, stdout=pipe, start_new_session=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert 64 << 20 < resident(process.pid) < 512 << 20
        process.communicate(b"\n")
    assert resident(process.pid) == 0


def test_gpus_are_those_that_the_environment_leaves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1, 3")
    assert visible_gpus() == ["1", "3"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert visible_gpus() == []


def test_a_process_has_cores() -> None:
    assert available_cores() >= 1
