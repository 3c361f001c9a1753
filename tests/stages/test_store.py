import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from specs_lab.core.errors import UserError
from specs_lab.core.progress import Progress
from specs_lab.stages.store import MANIFEST, Store, file_hashes, read_manifest, verify

KIND, KEY = "rl", "0123456789abcdef0123"


def write(text: str) -> Callable[[Path], None]:
    def build(folder: Path) -> None:
        (folder / "deep").mkdir()
        (folder / "deep" / "result.txt").write_text(text)

    return build


def never(folder: Path) -> None:
    raise AssertionError("must not be built")


def fail(folder: Path) -> None:
    (folder / "half.txt").write_text("half")
    raise RuntimeError("broke")


def drafts(store: Store) -> list[str]:
    return sorted(path.name for path in (store.cache / "tmp").iterdir())


@pytest.fixture
def messages() -> list[str]:
    return []


@pytest.fixture
def store(tmp_path: Path, messages: list[str]) -> Store:
    return Store(tmp_path / "cache", Progress(lambda event: messages.append(event["text"])))


def test_what_was_made_is_found_and_not_made_again(store: Store) -> None:
    assert store.get(KIND, KEY) is None
    folder, made = store.make(KIND, KEY, write("one"), {})
    assert made
    assert (folder / "deep" / "result.txt").read_text() == "one"
    assert store.get(KIND, KEY) == folder
    assert store.make(KIND, KEY, never, {}) == (folder, False)
    assert Store(store.cache).get(KIND, KEY) == folder


def test_other_keys_and_kinds_are_other_artifacts(store: Store) -> None:
    folder, _ = store.make(KIND, KEY, write("one"), {})
    assert store.get("construct", KEY) is None
    assert store.get(KIND, KEY[::-1]) is None
    other, made = store.make(KIND, KEY[::-1], write("two"), {})
    assert made
    assert other != folder


def test_the_manifest_tells_what_was_made(store: Store) -> None:
    folder, _ = store.make(KIND, KEY, write("one"), {"name": "zero", "seed": 3})
    manifest = read_manifest(folder)
    digest = hashlib.sha256(b"one").hexdigest()
    assert {**manifest, "seconds": 0, "made_at": ""} == {
        "name": "zero",
        "seed": 3,
        "kind": KIND,
        "key": KEY,
        "seconds": 0,
        "made_at": "",
        "files": {"deep/result.txt": digest},
    }
    assert manifest["seconds"] >= 0


def test_the_manifest_is_there_when_the_folder_appears(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    replace = os.replace

    def spy(source: Path, target: Path) -> None:
        seen.append((sorted(path.name for path in Path(source).iterdir()), Path(target).exists()))
        replace(source, target)

    monkeypatch.setattr(os, "replace", spy)
    store.make(KIND, KEY, write("one"), {})
    assert seen == [(["deep", MANIFEST], False)]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_a_failed_build_leaves_nothing(store: Store, error: type[BaseException]) -> None:
    def build(folder: Path) -> None:
        (folder / "half.txt").write_text("half")
        raise error("broke")

    with pytest.raises(error, match="broke"):
        store.make(KIND, KEY, build, {})
    assert store.get(KIND, KEY) is None
    assert drafts(store) == []
    assert store.make(KIND, KEY, write("one"), {})[1]


def damage_manifest(text: str) -> Callable[[Path], None]:
    return lambda folder: (folder / MANIFEST).write_text(text) and None


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda folder: (folder / MANIFEST).unlink(), "no readable manifest"),
        (damage_manifest("{"), "no JSON"),
        (damage_manifest("[]"), "something else"),
        (damage_manifest(json.dumps({"kind": KIND, "key": "another", "files": {}})), "something else"),
        (damage_manifest(json.dumps({"kind": KIND, "key": KEY})), "names no files"),
        (lambda folder: (folder / "deep" / "result.txt").unlink(), "lacks deep/result.txt"),
    ],
)
def test_a_folder_that_is_no_artifact_is_moved_aside_and_made_anew(
    store: Store, messages: list[str], damage: Callable[[Path], None], reason: str
) -> None:
    folder, _ = store.make(KIND, KEY, write("old"), {})
    (folder / "mine.txt").write_text("of some value to somebody")
    damage(folder)
    assert store.get(KIND, KEY) is None
    again, made = store.make(KIND, KEY, write("new"), {})
    assert made
    assert again == folder
    assert (folder / "deep" / "result.txt").read_text() == "new"
    (aside,) = (store.cache / "broken").iterdir()
    assert (aside / "mine.txt").exists()
    (message,) = messages
    assert reason in message
    assert str(aside) in message


def test_leftovers_of_dead_processes_are_removed(store: Store) -> None:
    tmp = store.cache / "tmp"
    for name in (f"{KEY}-dead", f"{KEY[::-1]}-dead"):
        (tmp / name).mkdir(parents=True)
        (tmp / name / "half.txt").write_text("half")
    store.make(KIND, KEY, write("one"), {})
    assert drafts(store) == []


def test_what_another_build_has_in_the_making_stays(store: Store) -> None:
    def outer(folder: Path) -> None:
        store.make("reference", KEY[::-1], write("inner"), {})
        assert folder.is_dir()
        write("outer")(folder)

    folder, _ = store.make(KIND, KEY, outer, {})
    assert (folder / "deep" / "result.txt").read_text() == "outer"
    assert store.get("reference", KEY[::-1]) is not None


def test_verify_finds_changed_and_missing_files(store: Store) -> None:
    folder, _ = store.make(KIND, KEY, lambda f: [(f / n).write_text(n) and None for n in "abc"] and None, {})
    verify(folder)
    (folder / "a").write_text("x")
    (folder / "b").unlink()
    with pytest.raises(UserError) as caught:
        verify(folder)
    assert [fault.where for fault in caught.value.faults] == [str(folder / "a"), str(folder / "b")]


def test_hashes_depend_on_names_and_contents_and_not_on_the_place_or_hidden_files(tmp_path: Path) -> None:
    for place in (tmp_path / "one", tmp_path / ".cache" / "two"):
        (place / "deep").mkdir(parents=True)
        (place / "deep" / "a.txt").write_text("a")
    one, two = tmp_path / "one", tmp_path / ".cache" / "two"
    (two / ".hidden").mkdir()
    (two / ".hidden" / "b.txt").write_text("b")
    assert file_hashes(one) == file_hashes(two) == {"deep/a.txt": hashlib.sha256(b"a").hexdigest()}


# A process that builds an artifact as soon as it may: it says "building" and waits for the file `go`.
BUILDER = """
import sys, time
from pathlib import Path
from specs_lab.core.progress import Progress
from specs_lab.stages.store import Store

cache = Path(sys.argv[1])

def build(folder):
    (folder / "result.txt").write_text("half")
    print("building", flush=True)
    while not (cache / "go").exists():
        time.sleep(0.01)
    (folder / "result.txt").write_text("whole")

store = Store(cache, Progress(lambda event: print(event["text"], flush=True)))
folder, made = store.make(sys.argv[2], sys.argv[3], build, {"name": "zero"})
print("made" if made else "found", (folder / "result.txt").read_text(), flush=True)
"""


def start_builder(cache: Path, kind: str = KIND, key: str = KEY) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", BUILDER, str(cache), kind, key]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def line(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


@pytest.mark.e2e
def test_two_processes_build_a_key_once(store: Store) -> None:
    with start_builder(store.cache) as first:
        assert line(first) == "building"
        with start_builder(store.cache) as second:
            assert line(second) == f"waiting for another process, which is making zero ({KIND}/{KEY})"
            store.make("construct", KEY[::-1], write("other"), {})  # other keys need not wait, and spare its draft
            (store.cache / "go").touch()
            assert line(first) == "made whole"
            assert line(second) == "found whole"


@pytest.mark.e2e
def test_a_process_killed_while_building_leaves_no_artifact_and_no_lock(store: Store) -> None:
    with start_builder(store.cache) as process:
        assert line(process) == "building"
        process.send_signal(signal.SIGKILL)
    assert len(drafts(store)) == 1
    assert store.get(KIND, KEY) is None
    folder, made = store.make(KIND, KEY, write("whole"), {})
    assert made
    assert (folder / "deep" / "result.txt").read_text() == "whole"
    assert drafts(store) == []


@pytest.mark.e2e
def test_who_waits_for_a_process_that_is_killed_builds_itself(store: Store) -> None:
    with start_builder(store.cache) as first:
        assert line(first) == "building"
        with start_builder(store.cache) as second:
            assert line(second).startswith("waiting")
            first.send_signal(signal.SIGKILL)
            (store.cache / "go").touch()
            assert line(second) == "building"
            assert line(second) == "made whole"
