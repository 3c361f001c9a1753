import hashlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from specs_lab.core.errors import Fault
from specs_lab.core.lease import Lease
from specs_lab.core.progress import Progress
from specs_lab.stages.drafts import STALE_DRAFT_DAYS
from specs_lab.stages.store import MANIFEST, WORK, DamagedArtifact, Store, file_hash, file_hashes, read_manifest, verify

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


def drafts(store: Store) -> list[Path]:
    return sorted((store.cache / "tmp").iterdir())


def locks(store: Store) -> list[Path]:
    return sorted((store.cache / "locks").iterdir())


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
        "attempts": 1,
        "made_at": "",
        "files": {"deep/result.txt": digest},
    }
    assert manifest["seconds"] >= 0


def test_all_of_an_artifact_is_on_the_disk_before_it_appears(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: set[str] = set()
    seen: list[tuple[list[str], set[str], bool]] = []
    rename, fsync = os.rename, os.fsync

    def note(descriptor: int) -> None:
        synced.add(os.readlink(f"/proc/self/fd/{descriptor}"))
        fsync(descriptor)

    def spy(source: Path, target: Path) -> None:
        if Path(target) == store.cache / KIND / KEY:
            inside = [path for path in Path(source).rglob("*") if path.name != MANIFEST]  # synced under another name
            missing = {str(path) for path in [source, *inside]} - synced
            seen.append((sorted(path.name for path in Path(source).iterdir()), missing, Path(target).exists()))
        rename(source, target)

    monkeypatch.setattr(os, "rename", spy)
    monkeypatch.setattr(os, "fsync", note)
    store.make(KIND, KEY, write("one"), {})
    assert seen == [(["deep", MANIFEST], set(), False)]
    assert str(store.cache / KIND) in synced  # afterwards
    assert any(f".{MANIFEST}." in path for path in synced)


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_a_failed_build_leaves_its_work_for_the_next(store: Store, error: type[BaseException]) -> None:
    def fails(folder: Path) -> None:
        assert [path.name for path in folder.iterdir()] == [WORK]
        (folder / "half.txt").write_text("half")
        (folder / "half").mkdir()
        (folder / WORK / "checkpoints").mkdir()
        raise error("broke")

    def goes_on(folder: Path) -> None:
        assert [path.name for path in folder.iterdir()] == [WORK]
        assert (folder / WORK / "checkpoints").is_dir()
        write("whole")(folder)

    with pytest.raises(error, match="broke"):
        store.make(KIND, KEY, fails, {})
    assert store.get(KIND, KEY) is None
    assert len(drafts(store)) == 1
    folder, made = store.make(KIND, KEY, goes_on, {})
    assert made
    assert sorted(path.name for path in folder.iterdir()) == ["deep", MANIFEST]
    assert drafts(store) == []
    assert locks(store) == []


def test_seconds_and_attempts_are_those_of_all_builds(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SimpleNamespace(now=0.0, monotonic=lambda: clock.now)
    monkeypatch.setattr("specs_lab.stages.drafts.time", clock)

    def build(folder: Path) -> None:
        clock.now += 10.0
        if clock.now < 25.0:
            raise RuntimeError("broke")

    for _ in range(2):
        with pytest.raises(RuntimeError):
            store.make(KIND, KEY, build, {})
    folder, _ = store.make(KIND, KEY, build, {})
    assert (read_manifest(folder)["seconds"], read_manifest(folder)["attempts"]) == (30.0, 3)


def test_a_damaged_input_is_no_attempt(store: Store) -> None:
    def build(folder: Path) -> None:
        raise DamagedArtifact(folder, [Fault("where", "what", "fix")])

    with pytest.raises(DamagedArtifact):
        store.make(KIND, KEY, build, {})
    folder, _ = store.make(KIND, KEY, write("one"), {})
    assert read_manifest(folder)["attempts"] == 1


def test_an_artifact_has_the_modes_of_new_files_and_leaves_those_of_others_alone(store: Store, tmp_path: Path) -> None:
    linked = tmp_path / "linked"
    linked.touch(0o600)

    def build(folder: Path) -> None:
        write("one")(folder)
        (folder / "deep").chmod(0o700)
        descriptor, name = tempfile.mkstemp(dir=folder / "deep")
        os.close(descriptor)
        os.rename(name, folder / "deep" / "private.bin")
        os.link(linked, folder / "linked")

    before = os.umask(0o027)
    try:
        folder, _ = store.make(KIND, KEY, build, {})
    finally:
        os.umask(before)
    modes = {path.name: path.stat().st_mode & 0o777 for path in [folder, *folder.rglob("*")]}
    assert modes == {
        KEY: 0o750,
        "deep": 0o750,
        "private.bin": 0o640,
        "result.txt": 0o640,
        MANIFEST: 0o640,
        "linked": 0o600,
    }


class Died(BaseException):
    """A process that dies, as far as that can be had in one that lives."""


@pytest.mark.parametrize("moment", [MANIFEST, ".spent", f"{KIND}/{KEY}"], ids=["manifest", "work folder", "artifact"])
def test_a_maker_that_dies_while_it_publishes_has_made_nothing_in_vain(
    store: Store, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    def dying(rename: Callable[[Path, Path], None]) -> Callable[[Path, Path], None]:
        def call(source: Path, target: Path) -> None:
            if str(target).endswith(moment):
                raise Died
            rename(source, target)

        return call

    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", dying(os.rename))
        patch.setattr(os, "replace", dying(os.replace))
        with pytest.raises(Died):
            store.make(KIND, KEY, write("whole"), {})
    folder, made = store.make(KIND, KEY, write("again") if moment == MANIFEST else never, {})
    assert made
    verify(folder)
    assert sorted(path.name for path in folder.iterdir()) == ["deep", MANIFEST]
    assert drafts(store) == []


def test_a_draft_that_was_complete_but_is_damaged_is_made_anew(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def dies(draft: Path) -> Path:
        raise Died

    with monkeypatch.context() as patch:
        patch.setattr("specs_lab.stages.store.set_work_aside", dies)
        with pytest.raises(Died):
            store.make(KIND, KEY, write("old"), {})
    (draft,) = drafts(store)
    (draft / "deep" / "result.txt").write_text("damaged")
    folder, _ = store.make(KIND, KEY, write("new"), {})
    assert (folder / "deep" / "result.txt").read_text() == "new"


def test_what_another_maker_has_published_in_between_is_taken(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Lease, "held", lambda lease: True)

    def build(folder: Path) -> None:
        write("late")(folder)
        with monkeypatch.context() as patch:  # the other one thinks that this one is dead
            patch.setattr(Lease, "try_acquire", lambda lease: True)
            store.make(KIND, KEY, write("fast"), {})
        (folder / "deep").mkdir(parents=True)
        (folder / WORK).mkdir()

    folder, _ = store.make(KIND, KEY, build, {})
    assert (folder / "deep" / "result.txt").read_text() == "fast"
    assert drafts(store) == []


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


def test_only_drafts_that_were_abandoned_long_ago_are_removed(store: Store) -> None:
    tmp = store.cache / "tmp"
    day = 86400
    now = tmp_time(store)
    ages = {"young": 1, "old": STALE_DRAFT_DAYS + 1, "future": -100 * STALE_DRAFT_DAYS, "held": STALE_DRAFT_DAYS + 1}
    for name, days in ages.items():
        (tmp / f"{name}-token" / WORK).mkdir(parents=True)
        file = tmp / f"{name}-token" / WORK / "half.txt"
        file.write_text("half")
        for path in (file, file.parent, file.parent.parent):
            os.utime(path, (now - days * day,) * 2)
    touched = tmp / "touched-token"
    (touched / WORK).mkdir(parents=True)
    os.utime(touched, (0, 0))  # but not what is in it
    held = Lease(store.cache / "locks", "held")
    held.acquire()
    store.make(KIND, KEY, write("one"), {})
    held.release(forget=True)
    assert [path.name.partition("-")[0] for path in drafts(store)] == ["future", "held", "touched", "young"]
    assert locks(store) == []


def tmp_time(store: Store) -> float:
    (store.cache / "tmp").mkdir(parents=True)
    return (store.cache / "tmp").stat().st_mtime


@pytest.mark.parametrize("its_maker_has_ended", [True, False])
def test_the_draft_of_who_may_still_write_is_copied_and_its_checkpoints_linked(
    store: Store, its_maker_has_ended: bool
) -> None:
    before = Lease(store.cache / "locks", KEY)
    before.acquire()
    before.release()
    work = store.cache / "tmp" / f"{KEY}-{before.token if its_maker_has_ended else 'another'}" / WORK
    files = ["journal.jsonl", "checkpoints/step-1/state.bin", "checkpoints/.step-2/state.bin"]
    for name in files:
        (work / name).parent.mkdir(parents=True, exist_ok=True)
        (work / name).write_text(name)
    inodes = {name: (work / name).stat().st_ino for name in files}
    found: dict[str, bool] = {}

    def build(folder: Path) -> None:
        assert [(folder / WORK / name).read_text() for name in files] == files
        found.update({name: (folder / WORK / name).stat().st_ino == inodes[name] for name in files})
        assert not work.exists()
        assert drafts(store) == [folder]

    store.make(KIND, KEY, build, {})
    assert found == dict(zip(files, [its_maker_has_ended, True, its_maker_has_ended], strict=True))
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
    with pytest.raises(DamagedArtifact) as caught:
        verify(folder)
    assert caught.value.folder == folder
    assert [fault.where for fault in caught.value.faults] == [str(folder / "a"), str(folder / "b")]


@pytest.mark.parametrize("text", ["{", "[]", "{}", None])
def test_an_artifact_without_a_manifest_is_damaged(store: Store, text: str | None) -> None:
    folder, _ = store.make(KIND, KEY, write("one"), {})
    (folder / MANIFEST).unlink() if text is None else (folder / MANIFEST).write_text(text)
    with pytest.raises(DamagedArtifact, match="no manifest that can be read"):
        verify(folder)


@pytest.mark.parametrize("asked", ["verified", "made"])
def test_who_reads_what_another_process_moves_away_finds_it_damaged(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: str
) -> None:
    """That process has found it damaged, and is about to make it anew."""
    folder, _ = store.make(KIND, KEY, write("old"), {})

    def moved_first(path: Path) -> str:
        if path.is_relative_to(folder) and not (tmp_path / "aside").exists():
            folder.rename(tmp_path / "aside")
        return file_hash(path)

    monkeypatch.setattr("specs_lab.stages.artifacts.file_hash", moved_first)
    if asked == "verified":
        with pytest.raises(DamagedArtifact):
            verify(folder)
    else:
        assert store.make(KIND, KEY, write("new"), {}, check=True) == (folder, True)


def test_what_is_found_is_read_and_made_anew_if_asked_for(store: Store, messages: list[str]) -> None:
    folder, _ = store.make(KIND, KEY, write("old"), {})
    assert store.make(KIND, KEY, never, {}, check=True) == (folder, False)
    (folder / "deep" / "result.txt").write_text("ol")
    assert store.make(KIND, KEY, never, {}) == (folder, False)
    assert store.make(KIND, KEY, write("new"), {}, check=True) == (folder, True)
    assert (folder / "deep" / "result.txt").read_text() == "new"
    (message,) = messages
    assert "deep/result.txt has another SHA-256" in message
    assert len(list((store.cache / "broken").iterdir())) == 1


def test_hashes_depend_on_names_and_contents_and_not_on_the_place_or_hidden_files(tmp_path: Path) -> None:
    for place in (tmp_path / "one", tmp_path / ".cache" / "two"):
        (place / "deep").mkdir(parents=True)
        (place / "deep" / "a.txt").write_text("a")
    one, two = tmp_path / "one", tmp_path / ".cache" / "two"
    (two / ".hidden").mkdir()
    (two / ".hidden" / "b.txt").write_text("b")
    assert file_hashes(one) == file_hashes(two) == {"deep/a.txt": hashlib.sha256(b"a").hexdigest()}


# A process that builds an artifact as soon as it may: it says "building" and waits for the file `go`. What it finds in
# the work folder it says, and appends its name to it through a file that it keeps open.
BUILDER = """
import sys, time
from pathlib import Path
from specs_lab.core.progress import Progress
from specs_lab.stages.store import WORK, Store

cache, name = Path(sys.argv[1]), sys.argv[4]

def build(folder):
    journal = folder / WORK / "journal.txt"
    checkpoint = folder / WORK / "checkpoints" / "step-1" / "state.bin"
    before = journal.read_text() if journal.exists() else ""
    checkpoint.parent.mkdir(parents=True, exist_ok=True)
    checkpoint.write_text("state")
    with journal.open("a") as file:
        file.write(name)
        file.flush()
        (folder / "result.txt").write_text("half")
        print("building", before, flush=True)
        while not (cache / ("go-" + name)).exists():
            time.sleep(0.01)
        file.write(name + " is late")
    (folder / "result.txt").write_text("whole by " + name)
    (folder / "journal.txt").write_text(journal.read_text())

progress = Progress(lambda event: print(event["text"], flush=True))
store = Store(cache, progress, renew_s=0.05, stale_s=float(sys.argv[5]))
folder, made = store.make(sys.argv[2], sys.argv[3], build, {"name": "zero"})
print("made" if made else "found", (folder / "result.txt").read_text(), flush=True)
"""
WAITING = f"waiting for another process, which is making zero ({KIND}/{KEY})"


def start_builder(cache: Path, name: str = "a", stale_s: float = 1000.0) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", BUILDER, str(cache), KIND, KEY, name, str(stale_s)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def line(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def go(store: Store, *names: str) -> None:
    for name in names:
        (store.cache / f"go-{name}").touch()


@pytest.mark.e2e
def test_two_processes_build_a_key_once(store: Store) -> None:
    with start_builder(store.cache, "a") as first:
        assert line(first) == "building"
        with start_builder(store.cache, "b") as second:
            assert line(second) == WAITING
            store.make("construct", KEY[::-1], write("other"), {})  # other keys need not wait, and spare its draft
            go(store, "a")
            assert line(first) == "made whole by a"
            assert line(second) == "found whole by a"
    assert locks(store) == []


@pytest.mark.e2e
def test_of_six_processes_one_builds_what_a_dead_one_has_begun(store: Store) -> None:
    with start_builder(store.cache, "dead") as process:
        assert line(process) == "building"
        process.send_signal(signal.SIGKILL)
    names = "abcdef"
    go(store, *names)
    processes = [start_builder(store.cache, name) for name in names]
    said = [process.communicate(timeout=60)[0].splitlines() for process in processes]
    assert [process.returncode for process in processes] == [0] * 6
    assert sum("building dead" in lines for lines in said) == 1
    assert sum(lines[-1].startswith("made") for lines in said) == 1
    assert len({lines[-1].partition(" ")[2] for lines in said}) == 1


@pytest.mark.e2e
def test_what_a_killed_process_has_left_is_gone_on_with(store: Store) -> None:
    with start_builder(store.cache) as process:
        assert line(process) == "building"
        process.send_signal(signal.SIGKILL)
    (draft,) = drafts(store)
    assert (draft / "result.txt").read_text() == "half"
    assert store.get(KIND, KEY) is None

    def build(folder: Path) -> None:
        assert [path.name for path in folder.iterdir()] == [WORK]
        assert (folder / WORK / "journal.txt").read_text() == "a"
        assert (folder / WORK / "checkpoints" / "step-1" / "state.bin").read_text() == "state"
        write("whole")(folder)

    folder, made = store.make(KIND, KEY, build, {})
    assert made
    assert read_manifest(folder)["attempts"] == 2
    assert drafts(store) == []


@pytest.mark.e2e
def test_who_waits_for_a_process_that_is_killed_goes_on_in_its_place(store: Store) -> None:
    with start_builder(store.cache, "a") as first:
        assert line(first) == "building"
        with start_builder(store.cache, "b") as second:
            assert line(second) == WAITING
            first.send_signal(signal.SIGKILL)
            go(store, "b")
            assert line(second) == "building a"
            assert line(second) == "made whole by b"


@pytest.mark.e2e
def test_a_maker_that_was_suspended_neither_publishes_nor_disturbs_who_took_over(store: Store) -> None:
    with start_builder(store.cache, "a") as first:
        assert line(first) == "building"
        first.send_signal(signal.SIGSTOP)
        with start_builder(store.cache, "b", stale_s=0.5) as second:
            assert line(second) == WAITING
            assert "no sign of life for 0.5 s" in line(second)
            assert line(second) == "building a"
            go(store, "a")
            first.send_signal(signal.SIGCONT)
            late = line(first)
            assert "this process was held up" in late
            assert "FileNotFoundError" in late
            assert line(first) == WAITING
            assert store.get(KIND, KEY) is None
            go(store, "b")
            assert line(second) == "made whole by b"
            assert line(first) == "found whole by b"
    assert (store.cache / KIND / KEY / "journal.txt").read_text() == "abb is late"  # nothing of what "a" wrote late
    assert drafts(store) == []
    assert locks(store) == []


def test_a_maker_that_was_suspended_just_before_publishing_takes_what_the_other_has_made(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def build(folder: Path) -> None:
        write("mine")(folder)
        monkeypatch.setattr(Lease, "_renew", lambda lease: None)

    held = Lease.held

    def suspended(lease: Lease) -> bool:
        monkeypatch.setattr(Lease, "held", held)
        lease_lost = Store(store.cache, stale_s=0.0)
        lease_lost.make(KIND, KEY, never, {})  # what was complete is published as it is
        return held(lease)

    monkeypatch.setattr(Lease, "held", suspended)
    folder, made = store.make(KIND, KEY, build, {})
    assert not made
    assert (folder / "deep" / "result.txt").read_text() == "mine"


@pytest.mark.e2e
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_who_is_interrupted_gives_the_lock_back(store: Store, number: signal.Signals) -> None:
    own = "signal.signal(signal.SIGINT, signal.default_int_handler)"  # of a run in the background it is ignored
    script = f"import signal, sys\n{own}\nsignal.signal(signal.SIGTERM, lambda *_: sys.exit(143))\n{BUILDER}"
    command = [sys.executable, "-c", script, str(store.cache), KIND, KEY, "a", "1000"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, text=True, **pipes) as process:
        assert line(process) == "building"
        process.send_signal(number)
    (path,) = locks(store)
    assert json.loads(path.read_text())["state"] == "free"
