"""Disks that are full or closed, and clocks that jump. Where a disk can be mounted, it is a real one."""

import csv
import errno
import json
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from specs_lab.core.disk import disk_fault, mount_of
from specs_lab.core.errors import UserError
from specs_lab.core.progress import Progress
from specs_lab.stages.store import WORK, Store, read_manifest, verify

KIND, KEY = "rl", "0123456789abcdef0123"
MEGABYTE = 1 << 20


def mount(*arguments: str) -> bool:
    return subprocess.run(["mount", *arguments], capture_output=True, check=False).returncode == 0


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of one megabyte."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if shutil.which("mount") is None or not mount("-t", "tmpfs", "-o", "size=1m", "none", str(folder)):
        pytest.skip("no disk can be mounted here")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def write_plain(path: Path) -> None:
    path.write_bytes(bytes(4 * MEGABYTE))


def write_csv(path: Path) -> None:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([["text"] * 100] * 10000)


def write_safetensors(path: Path) -> None:
    import torch
    from safetensors.torch import save_file

    save_file({"a": torch.zeros(MEGABYTE)}, path)


def write_torch(path: Path) -> None:
    import torch

    torch.save({"a": torch.zeros(MEGABYTE)}, path)


def write_parquet(path: Path) -> None:
    import numpy as np
    import pandas as pd

    pd.DataFrame({"a": np.random.default_rng(0).random(MEGABYTE)}).to_parquet(path)


def copy_tree(path: Path) -> None:
    source = path.parents[4] / "source"  # beside the disk
    source.mkdir(exist_ok=True)
    write_plain(source / "file")
    shutil.copytree(source, path)


def wrapped(path: Path) -> None:
    try:
        write_plain(path)
    except OSError as error:
        raise RuntimeError("could not save") from error


WRITERS = [write_plain, write_csv, write_safetensors, write_torch, write_parquet, copy_tree, wrapped]


@pytest.mark.parametrize("write", WRITERS, ids=lambda write: write.__name__)
def test_a_full_disk_is_one_clear_error_and_nothing_is_lost(disk: Path, write: Callable[[Path], None]) -> None:
    store = Store(disk / "cache")
    work: list[list[str]] = []

    def build(folder: Path) -> None:
        work.append([path.name for path in (folder / WORK).iterdir() if not path.name.startswith(".")])
        (folder / WORK / "checkpoint").write_text("much work")
        write(folder / "file")

    with pytest.raises(UserError) as caught:
        store.make(KIND, KEY, build, {})
    (fault,) = caught.value.faults
    (draft,) = (disk / "cache" / "tmp").iterdir()
    assert f"the disk {disk} is full" in fault.what
    assert "of 1.0 MiB are free" in fault.what
    assert f"is kept in {draft}, and the same command goes on" in fault.fix
    assert caught.value.__cause__ is not None
    assert (draft / WORK / "checkpoint").exists()
    assert mount("-o", "remount,size=100m", str(disk))
    folder, made = store.make(KIND, KEY, build, {})
    assert made
    assert work == [[], ["checkpoint"]]
    assert read_manifest(folder)["attempts"] == 2
    verify(folder)


def fill(path: Path) -> None:
    with path.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))


def test_a_disk_that_fills_up_while_an_artifact_is_published_is_told_of_too(disk: Path) -> None:
    store = Store(disk / "cache")

    def build(folder: Path) -> None:
        (folder / "result.txt").write_text("result")
        with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
            fill(folder / WORK / "filler")

    with pytest.raises(UserError, match="is full"):
        store.make(KIND, KEY, build, {})
    assert store.get(KIND, KEY) is None


def test_a_read_only_cache_is_used_and_nothing_is_begun_in_it(disk: Path) -> None:
    store = Store(disk / "cache")
    folder, _ = store.make(KIND, KEY, lambda folder: (folder / "result.txt").touch(), {})
    assert mount("-o", "remount,ro", str(disk))
    begun: list[Path] = []
    assert store.make(KIND, KEY, begun.append, {}, check=True) == (folder, False)
    with pytest.raises(UserError) as caught:
        store.make(KIND, KEY[::-1], begun.append, {})
    (fault,) = caught.value.faults
    assert str(disk) in fault.where
    assert "Read-only file system" in fault.what
    assert begun == []


def test_a_cache_that_is_closed_to_this_user_is_found_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Path.open

    def closed(path: Path, *arguments: Any, **options: Any) -> Any:
        if path.parent == tmp_path / KIND:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return real(path, *arguments, **options)

    monkeypatch.setattr(Path, "open", closed)
    begun: list[Path] = []
    with pytest.raises(UserError, match="Permission denied"):
        Store(tmp_path).make(KIND, KEY, begun.append, {})
    assert begun == []


LIMITED = """
import resource, sys
from pathlib import Path
from specs_lab.core.errors import UserError
from specs_lab.stages.store import Store

resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    Store(Path(sys.argv[1])).make("rl", "key", lambda folder: (folder / "file").write_bytes(bytes(200_000)), {})
except UserError as error:
    print(error)
"""


@pytest.mark.e2e
def test_a_limit_of_the_size_of_files_is_one_clear_error(tmp_path: Path) -> None:
    command = [sys.executable, "-c", LIMITED, str(tmp_path / "cache")]
    said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    assert "larger than it may be" in said
    assert "at most 97.7 KiB (ulimit -f)" in said
    assert f"kept in {tmp_path / 'cache' / 'tmp'}" in said


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
@pytest.mark.parametrize("raise_it", ["number", "words", "context"])
def test_a_full_disk_is_known_by_number_or_by_words(tmp_path: Path, number: int, raise_it: str) -> None:
    error: Exception
    if raise_it == "number":
        error = OSError(number, os.strerror(number), str(tmp_path / "deep" / "file"))
    elif raise_it == "words":
        error = RuntimeError(f"Error while serializing: I/O error: {os.strerror(number)} (os error {number})")
    else:
        error = ValueError("another")
        error.__context__ = OSError(number, os.strerror(number))
    fault = disk_fault(error, tmp_path)
    assert fault is not None
    assert str(mount_of(tmp_path)) in fault.what


def test_other_errors_are_not_taken_for_those_of_the_disk(tmp_path: Path) -> None:
    assert disk_fault(ValueError("no space for hope"), tmp_path) is None
    assert disk_fault(FileNotFoundError(errno.ENOENT, "gone", str(tmp_path)), tmp_path) is None
    assert disk_fault(RuntimeError("PytorchStreamWriter failed writing"), tmp_path) is None  # there is room
    assert disk_fault(PermissionError(errno.EPERM, "a signal to somebody else's process"), tmp_path) is None
    elsewhere = PermissionError(errno.EACCES, "denied", "/elsewhere/file")
    assert disk_fault(elsewhere, tmp_path) is None
    hidden = ValueError("another")
    hidden.__context__, hidden.__suppress_context__ = OSError(errno.ENOSPC, "full"), True
    assert disk_fault(hidden, tmp_path) is None


def test_a_disk_that_can_hold_no_more_files_is_told_apart(disk: Path) -> None:
    def build(folder: Path) -> None:
        for number in range(10000):
            (folder / str(number)).touch()

    assert mount("-o", "remount,nr_inodes=100", str(disk))
    with pytest.raises(UserError, match="can hold no more files"):
        Store(disk / "cache").make(KIND, KEY, build, {})


def test_a_file_that_is_too_large_for_a_disk_without_a_limit_of_the_user(tmp_path: Path) -> None:
    limit, _ = resource.getrlimit(resource.RLIMIT_FSIZE)
    assert limit == resource.RLIM_INFINITY
    fault = disk_fault(OSError(errno.EFBIG, os.strerror(errno.EFBIG)), tmp_path)
    assert fault is not None
    assert "ulimit" not in fault.what


# Python imports this when it starts: every look at the clock sees another year.
JUMPING_CLOCK = """
import itertools, time

_real, _years = time.time, itertools.cycle([0, 20, -10, 3, -30, 0.001])
time.time = lambda: _real() + next(_years) * 31_557_600
time.time_ns = lambda: int(time.time() * 1e9)
"""
MAKER = """
import sys, time
from pathlib import Path
from specs_lab.core.progress import Progress
from specs_lab.stages.store import Store

cache, name = Path(sys.argv[1]), sys.argv[2]

def build(folder):
    assert len({round(time.time()) // 10_000_000 for _ in range(6)}) > 2
    print("building", flush=True)
    while not (cache / "go").exists():
        time.sleep(0.01)
    (folder / "result.txt").write_text(name)

progress = Progress(lambda event: print(event["text"], flush=True))
store = Store(cache, progress, renew_s=0.05, stale_s=30)
folder, made = store.make("rl", "key", build, {})
print(made, (folder / "result.txt").read_text(), flush=True)
"""


@pytest.mark.e2e
def test_clocks_that_jump_change_nothing(tmp_path: Path) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(JUMPING_CLOCK)
    cache = tmp_path / "cache"
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "site")}

    def start(name: str) -> "subprocess.Popen[str]":
        command = [sys.executable, "-c", MAKER, str(cache), name]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)

    with start("one") as one:
        assert one.stdout is not None
        assert one.stdout.readline() == "building\n"
        with start("two") as two:
            assert two.stdout is not None
            assert two.stdout.readline().startswith("waiting")
            (lock,) = (cache / "locks").glob("key.*")
            count = json.loads(lock.read_text())["count"]
            while json.loads(lock.read_text())["count"] == count:
                pass
            (cache / "go").touch()
            assert one.communicate(timeout=60)[0] == "True one\n"
            assert two.communicate(timeout=60)[0] == "False one\n"
    manifest = read_manifest(cache / "rl" / "key")
    assert 0 < manifest["seconds"] < 60
    assert manifest["attempts"] == 1


def test_progress_says_nothing_when_all_is_well(tmp_path: Path) -> None:
    said: list[str] = []
    store = Store(tmp_path, Progress(lambda event: said.append(event["text"])))
    store.make(KIND, KEY, lambda folder: (folder / "result.txt").touch(), {})
    store.make(KIND, KEY, lambda folder: (folder / "result.txt").touch(), {})
    assert said == []
