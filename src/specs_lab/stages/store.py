"""The store of finished stages: folders named by what they depend on.

    <cache>/<kind>/<key>/          an artifact, with its manifest.json; never changed after it has appeared
    <cache>/tmp/<key>-<random>/    an artifact in the making; published by one rename when complete
    <cache>/locks/<key>.lock       held by the process that is making it
    <cache>/broken/                what lay at an artifact's place but was none

The operating system frees the lock of a process that dies, however it dies. So a folder in ``tmp`` whose lock can be
had is a leftover, and is removed; there is nothing else to repair.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from specs_lab.core.errors import Fault, raise_faults
from specs_lab.core.progress import Progress

MANIFEST = "manifest.json"
WORK = ".work"
"""Folder, in that of an artifact in the making, of what an interrupted run leaves for the one that goes on."""
_POLL_SECONDS = 0.2


class Store:
    """The finished stages below one folder; may be used by many processes at once.

    Args:
        cache: The folder; made when first written to.
        progress: Told about what is waited for and what was found broken.
    """

    def __init__(self, cache: Path, progress: Progress | None = None) -> None:
        self.cache = Path(cache).absolute()
        self._progress = progress or Progress()

    def get(self, kind: str, key: str) -> Path | None:
        """The folder of a finished artifact, or None if there is none."""
        folder = self.cache / kind / key
        return folder if folder.is_dir() and _flaw(folder, kind, key) is None else None

    def make(
        self, kind: str, key: str, build: Callable[[Path], None], manifest: Mapping[str, Any]
    ) -> tuple[Path, bool]:
        """The folder of an artifact, which is built if there is none; only one process at a time builds it.

        Args:
            kind: The artifact's kind.
            key: Names the artifact; differs between kinds too.
            build: Fills the empty folder it is given.
            manifest: What the manifest says beside ``kind``, ``key``, ``seconds``, ``made_at`` and ``files``.

        Returns:
            The folder, and whether it was built now.
        """
        found = self.get(kind, key)
        if found:
            return found, False
        with self._lock(key, f"{manifest.get('name', kind)} ({kind}/{key})"):
            found = self.get(kind, key)  # another process may have built it while this one waited
            if found:
                return found, False
            self._clear_away(kind, key)
            return self._build(kind, key, build, manifest), True

    def _build(self, kind: str, key: str, build: Callable[[Path], None], manifest: Mapping[str, Any]) -> Path:
        draft = self.cache / "tmp" / key
        _empty(draft)
        start = time.monotonic()
        build(draft)
        shutil.rmtree(draft / WORK)
        record = {
            **manifest,
            "kind": kind,
            "key": key,
            "seconds": round(time.monotonic() - start, 3),
            "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "files": file_hashes(draft),
        }
        (draft / MANIFEST).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
        folder = self.cache / kind / key
        folder.parent.mkdir(parents=True, exist_ok=True)
        os.replace(draft, folder)
        return folder

    def _clear_away(self, kind: str, key: str) -> None:
        """Removes leftovers of processes that died, and moves aside what lies where the artifact is to appear."""
        (self.cache / "tmp").mkdir(parents=True, exist_ok=True)
        for draft in (self.cache / "tmp").iterdir():
            if draft.name != key:  # TODO
                self._remove_if_unlocked(draft, draft.name)
        folder = self.cache / kind / key
        if folder.exists():
            aside = self.cache / "broken" / f"{kind}-{key}-{uuid.uuid4().hex[:8]}"
            aside.parent.mkdir(exist_ok=True)
            flaw = _flaw(folder, kind, key)
            os.replace(folder, aside)
            self._progress.message(f"{folder} {flaw}; moved to {aside}, made anew")

    def _remove_if_unlocked(self, draft: Path, key: str) -> None:
        try:
            with self._file_lock(key).acquire(blocking=False):
                if draft.exists():
                    shutil.rmtree(draft)
        except Timeout:
            return  # in the making

    @contextmanager
    def _lock(self, key: str, what: str) -> Iterator[None]:
        lock = self._file_lock(key)
        try:
            lock.acquire(blocking=False)
        except Timeout:
            self._progress.message(f"waiting for another process, which is making {what}")
            lock.acquire(poll_interval=_POLL_SECONDS)
        try:
            yield
        finally:
            lock.release()

    def _file_lock(self, key: str) -> FileLock:
        (self.cache / "locks").mkdir(parents=True, exist_ok=True)
        return FileLock(self.cache / "locks" / f"{key}.lock")


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of an artifact.

    Raises:
        OSError: If there is none.
        ValueError: If it is no JSON.
    """
    return json.loads((folder / MANIFEST).read_text(encoding="utf-8"))


def file_hashes(folder: Path) -> dict[str, str]:
    """{relative path: SHA-256 in hex} of the files below a folder; hidden ones, such as download caches, left out."""
    hashes = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        if path.is_file() and not any(part.startswith(".") for part in name.parts):
            hashes[name.as_posix()] = file_hash(path)
    return hashes


def file_hash(path: Path) -> str:
    """The SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def verify(folder: Path) -> None:
    """Checks that an artifact is, byte for byte, what was made.

    Raises:
        UserError: If a file is missing or has changed.
    """
    recorded, present = read_manifest(folder)["files"], file_hashes(folder)
    fix = f"delete the folder {folder}; it is then made anew"
    raise_faults(
        [
            Fault(str(folder / name), "is not as it was made (another SHA-256 than in the manifest)", fix)
            for name, digest in recorded.items()
            if present.get(name) != digest
        ]
    )


def _empty(draft: Path) -> None:
    """Leaves in a folder, which is made if missing, only what is meant for a run that goes on."""
    (draft / WORK).mkdir(parents=True, exist_ok=True)
    for path in draft.iterdir():
        if path.name == WORK:
            continue
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def _flaw(folder: Path, kind: str, key: str) -> str | None:
    """Why a folder is not the artifact it should be, or None if it is; files are looked for but not read."""
    try:
        manifest = read_manifest(folder)
    except OSError:
        return "has no readable manifest"
    except ValueError:
        return "has a manifest that is no JSON"
    if not isinstance(manifest, dict) or (manifest.get("kind"), manifest.get("key")) != (kind, key):
        return "has the manifest of something else"
    if not isinstance(manifest.get("files"), dict):
        return "has a manifest that names no files"
    missing = [name for name in manifest["files"] if not (folder / name).is_file()]
    return f"lacks {missing[0]}" if missing else None
