import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from specs_lab.core.errors import UserError
from specs_lab.core.lease import Before, Lease
from specs_lab.core.processes import Process

NAME = "name"
LONG = 1000.0
LIMIT = 60.0

# A process that does with a lease what its standard input says, a line each, and answers each with a line.
OWNER = """
import os, sys
from pathlib import Path
from specs_lab.core.lease import Lease

lease = Lease(Path(sys.argv[1]), "name", renew_s=0.05, stale_s=float(sys.argv[2]))
for line in sys.stdin:
    command = line.strip()
    if command == "acquire":
        lease.acquire(lambda: print("waits", flush=True))
        print(lease.after.name, flush=True)
    elif command == "held":
        print(lease.held(), flush=True)
    elif command == "release":
        lease.release()
        print("released", flush=True)
    elif command == "fork":
        child = os.fork()
        if child == 0:
            held = lease.held()
            lease.release()
            os._exit(int(held))
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), lease.held(), flush=True)
"""

# A process that takes the lease many times, and says when it ever was not alone.
CONTENDER = """
import sys
from pathlib import Path
from specs_lab.core.lease import Lease

folder, inside = Path(sys.argv[1]), Path(sys.argv[2])
for _ in range(8):
    lease = Lease(folder, "name", renew_s=0.02, stale_s=1000)
    lease.acquire()
    inside.open("x").close()
    inside.unlink()
    lease.release()
"""


class Owner:
    def __init__(self, folder: Path, stale_s: float = LONG) -> None:
        command = [sys.executable, "-c", OWNER, str(folder), str(stale_s)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def says(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def tell(self, command: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{command}\n")
        self.process.stdin.flush()

    def ask(self, command: str) -> str:
        self.tell(command)
        return self.says()


@contextmanager
def owner(folder: Path, stale_s: float = LONG) -> Iterator[Owner]:
    one = Owner(folder, stale_s)
    try:
        yield one
    finally:
        one.process.kill()
        one.process.communicate(timeout=LIMIT)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "locks"


@pytest.fixture
def lease(folder: Path) -> Iterator[Lease]:
    one = Lease(folder, NAME, "a test", renew_s=0.02, stale_s=LONG)
    yield one
    one.release()


def another(folder: Path, stale_s: float = LONG) -> Lease:
    return Lease(folder, NAME, stale_s=stale_s)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def record(folder: Path) -> dict[str, Any]:
    return json.loads((folder / names(folder)[-1]).read_text())


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.005)


def leave(folder: Path, number: int = 1, count: int = 0, **changes: Any) -> Path:
    """A lease that some other process has left; by this very one but for the changes."""
    folder.mkdir(exist_ok=True)
    path = folder / f"{NAME}.{number}.lease"
    about = {"state": "held", "count": f"{count:012d}", "token": "theirs", "what": ""}
    path.write_text(json.dumps({**about, "owner": asdict(replace(Process.this(), **changes))}) + "\n")
    return path


def test_only_one_has_it_until_it_is_released(lease: Lease, folder: Path) -> None:
    assert lease.try_acquire()
    assert lease.held()
    second = another(folder)
    assert not second.try_acquire()
    assert not second.held()
    assert another(folder / "elsewhere").try_acquire()
    lease.release()
    assert not lease.held()
    assert second.try_acquire()
    assert (lease.after, lease.follows) == (Before.NOBODY, "")
    assert (second.after, second.follows) == (Before.RELEASED, lease.token)
    second.release(forget=True)
    assert names(folder) == ["elsewhere"]


def test_the_file_tells_who_has_it_and_for_what(lease: Lease, folder: Path) -> None:
    lease.acquire()
    about = record(folder)
    assert (about["what"], about["token"], about["owner"]["pid"]) == ("a test", lease.token, os.getpid())
    assert (folder / names(folder)[0]).stat().st_mode & 0o777 == 0o666 & ~umask()


def umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_it_is_renewed_without_changing_its_length(lease: Lease, folder: Path) -> None:
    renewed: list[int] = []
    lease.on_renew = lambda: renewed.append(1)
    lease.acquire()
    size = (folder / names(folder)[0]).stat().st_size
    until(lambda: int(record(folder)["count"]) >= 2 and len(renewed) >= 2)
    assert (folder / names(folder)[0]).stat().st_size == size


@pytest.mark.parametrize(
    "changes",
    [{"start": "1"}, {"pid": 2**22 + 1}, {"boot": "an earlier one"}],
    ids=["another process has its id", "no such process", "started again since"],
)
def test_the_lease_of_a_dead_process_is_taken_at_once(
    folder: Path, changes: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("specs_lab.core.processes._line", lambda path: path)  # a machine id, where there is none
    leave(folder, **changes)
    waiter = another(folder)
    assert waiter.try_acquire()
    assert waiter.after is Before.DEAD
    waiter.release()


@pytest.mark.parametrize(
    "changes",
    [
        {"host": "another", "boot": "another", "pid": 2**22 + 1},
        {"machine": "another", "boot": "another"},
        {"namespace": 1, "pid": 2**22 + 1},
        {"boot": "", "pid": 2**22 + 1},
        {"start": "", "pid": 2**22 + 1},
        {},
    ],
    ids=["host", "machine", "container", "no Linux", "no start", "alive"],
)
def test_a_process_that_may_live_must_be_silent_before_its_lease_is_taken(
    folder: Path, changes: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = SimpleNamespace(now=0.0, monotonic=lambda: clock.now, sleep=lambda _: None)
    monkeypatch.setattr("specs_lab.core.lease.time", clock)
    leave(folder, **changes)
    waiter = another(folder, stale_s=20.0)
    for _ in range(5):
        assert not waiter.try_acquire()
        clock.now += 4.0
    leave(folder, count=1, **changes)  # a sign of life
    for _ in range(5):
        assert not waiter.try_acquire()
        clock.now += 4.0
    assert waiter.try_acquire()
    assert waiter.after is Before.SILENT
    assert names(folder) == [f"{NAME}.2.lease"]
    waiter.release()


def test_a_waiter_that_was_suspended_has_not_waited(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SimpleNamespace(now=0.0, monotonic=lambda: clock.now)
    monkeypatch.setattr("specs_lab.core.lease.time", clock)
    leave(folder)
    waiter = another(folder, stale_s=20.0)
    assert not waiter.try_acquire()
    clock.now += 1e6
    assert not waiter.try_acquire()


def test_what_is_no_lease_yet_is_waited_for(folder: Path) -> None:
    leave(folder).write_text("")
    assert not another(folder).try_acquire()
    assert another(folder, stale_s=0.0).try_acquire()


def test_who_was_slow_withdraws(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    link = os.link

    def others_are_faster(source: Path, target: Path) -> None:
        leave(folder, number=9)
        (folder / f"{NAME}.1.lease").unlink()
        link(source, target)

    leave(folder, start="1")
    slow = another(folder)
    monkeypatch.setattr(os, "link", others_are_faster)
    assert not slow.try_acquire()
    assert not slow.held()
    assert names(folder) == [f"{NAME}.9.lease"]


def test_a_lease_goes_with_its_folder(lease: Lease, folder: Path) -> None:
    lease.acquire()
    shutil.rmtree(folder)
    assert not lease.held()


def test_what_processes_left_that_died_on_the_way_is_removed(folder: Path) -> None:
    folder.mkdir()
    for name in (f".{NAME}.dead.draft", f".{NAME}.dead.probe", f".another.{NAME}.draft"):
        (folder / name).touch()
    lease = another(folder)
    assert lease.try_acquire()
    lease.release(forget=True)
    assert names(folder) == [f".another.{NAME}.draft"]


def test_an_answer_that_got_lost_on_the_way_is_asked_for_again(lease: Lease, monkeypatch: pytest.MonkeyPatch) -> None:
    link = os.link

    def twice(source: Path, target: Path) -> None:
        link(source, target)
        link(source, target)

    monkeypatch.setattr(os, "link", twice)
    assert lease.try_acquire()
    assert lease.held()


def test_without_hard_links_it_is_exclusive_too(folder: Path, lease: Lease, monkeypatch: pytest.MonkeyPatch) -> None:
    def cannot(source: Path, target: Path) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM), str(source), None, str(target))

    monkeypatch.setattr(os, "link", cannot)
    assert lease.try_acquire()
    assert lease.held()
    assert not another(folder).try_acquire()


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES, errno.ENOSPC])
def test_a_folder_that_takes_no_lease_is_one_clear_error(
    folder: Path, lease: Lease, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def cannot(source: Path, target: Path) -> None:
        raise OSError(number, os.strerror(number), str(source), None, str(target))

    monkeypatch.setattr(os, "link", cannot)
    with pytest.raises(UserError) as caught:
        lease.try_acquire()
    (fault,) = caught.value.faults
    assert str(folder) in fault.where
    assert "is finished there can still be used" in fault.fix
    assert names(folder) == []


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_who_is_interrupted_while_taking_it_leaves_nothing(
    folder: Path, lease: Lease, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    link = os.link

    def interrupted(source: Path, target: Path) -> None:
        link(source, target)
        raise error

    monkeypatch.setattr(os, "link", interrupted)
    with pytest.raises(error):
        lease.acquire()
    assert names(folder) == []


@pytest.mark.e2e
def test_the_lease_of_a_process_that_is_killed_is_taken_at_once(folder: Path) -> None:
    with owner(folder) as first, owner(folder) as second:
        assert first.ask("acquire") == "NOBODY"
        assert second.ask("acquire") == "waits"
        first.process.send_signal(signal.SIGKILL)  # nobody has waited for it yet: it is a zombie
        assert second.says() == "DEAD"


@pytest.mark.e2e
def test_a_suspended_owner_loses_it_and_does_not_disturb_the_next(folder: Path) -> None:
    with owner(folder) as first, owner(folder, stale_s=0.5) as second:
        assert first.ask("acquire") == "NOBODY"
        assert second.ask("acquire") == "waits"
        first.process.send_signal(signal.SIGSTOP)
        assert second.says() == "SILENT"
        first.process.send_signal(signal.SIGCONT)
        assert first.ask("held") == "False"
        before = record(folder)["count"]
        until(lambda: record(folder)["count"] != before)  # the first one has gone on renewing, too: what nobody sees
        assert first.ask("release") == "released"
        assert second.ask("held") == "True"
        assert first.ask("acquire") == "waits"
        assert second.ask("release") == "released"
        assert first.says() == "RELEASED"


@pytest.mark.e2e
def test_an_owner_that_lives_keeps_it_from_an_impatient_waiter(folder: Path) -> None:
    with owner(folder) as first, owner(folder, stale_s=2.0) as second:
        assert first.ask("acquire") == "NOBODY"
        start = int(record(folder)["count"])
        assert second.ask("acquire") == "waits"
        until(lambda: int(record(folder)["count"]) > start + 45)  # longer than that
        assert first.ask("held") == "True"
        assert first.ask("release") == "released"
        assert second.says() == "RELEASED"


@pytest.mark.e2e
def test_a_forked_child_neither_has_nor_releases_it(folder: Path) -> None:
    with owner(folder) as parent:
        assert parent.ask("acquire") == "NOBODY"
        assert parent.ask("fork") == "0 True"


@pytest.mark.e2e
def test_of_six_processes_one_has_it_at_a_time(folder: Path, tmp_path: Path) -> None:
    with owner(folder) as dead:
        assert dead.ask("acquire") == "NOBODY"
    inside = tmp_path / "inside"
    command = [sys.executable, "-c", CONTENDER, str(folder), str(inside)]
    processes = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(6)]
    assert [process.communicate(timeout=LIMIT)[1] for process in processes] == [""] * 6
    assert names(folder) == [f"{NAME}.49.lease"]
