"""The store of finished stages: folders named by what they depend on.

    <cache>/<kind>/<key>/          an artifact, with its manifest.json; never changed after it has appeared
    <cache>/tmp/<key>-<token>/     an artifact in the making; see :mod:`specs_lab.stages.drafts`
    <cache>/locks/<key>.<n>.lease  of the process that is making it; see :mod:`specs_lab.core.lease`
    <cache>/broken/                what lay at an artifact's place but was none, or was damaged

An artifact appears by one rename, after all of it is on the disk. A maker that dies or fails leaves its draft, and
whoever makes the artifact next goes on in it, on whichever machine. In the order of publishing (the manifest into the
draft, the work folder out of it, the rename) there is no moment at which a process could die and something be lost: a
draft with a manifest is complete, and is published as it is if its files have the SHA-256 sums that the manifest says.

A maker may lose its lease without knowing, because it is suspended. It finds that out before it publishes, or because
its draft has got another name; it then waits for the other maker's artifact.
"""

from __future__ import annotations

import json
import os
import secrets
import stat
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from specs_lab.core.atomic import sync_folder, sync_tree, write_text
from specs_lab.core.disk import disk_fault
from specs_lab.core.errors import UserError
from specs_lab.core.lease import RENEW_S, STALE_S, Before, Lease
from specs_lab.core.progress import Progress
from specs_lab.stages.artifacts import (
    MANIFEST,
    DamagedArtifact,
    damage_of,
    file_hash,
    file_hashes,
    flaw_of,
    read_manifest,
    verify,
)
from specs_lab.stages.drafts import WORK, Attempt, discard, empty, remove_abandoned, set_work_aside, take_over

__all__ = [
    "MANIFEST",
    "WORK",
    "DamagedArtifact",
    "Store",
    "file_hash",
    "file_hashes",
    "read_manifest",
    "verify",
]


_PROBE = ".probe-"


class _LeaseLost(Exception):
    """Somebody else makes the artifact now."""


class Store:
    """The finished stages below one folder; may be used by many processes, on many machines, at once.

    Args:
        cache: The folder; made when first written to.
        progress: Told about what is waited for and what was found broken.
        renew_s: Seconds between two signs of life of a maker.
        stale_s: Seconds without one after which another process takes over.
    """

    def __init__(
        self, cache: Path, progress: Progress | None = None, *, renew_s: float = RENEW_S, stale_s: float = STALE_S
    ) -> None:
        self.cache = Path(cache).absolute()
        self._progress = progress or Progress()
        self._renew_s, self._stale_s = renew_s, stale_s

    def get(self, kind: str, key: str) -> Path | None:
        """The folder of a finished artifact, or None if there is none; its files are looked for but not read."""
        folder = self.cache / kind / key
        return folder if folder.is_dir() and flaw_of(folder, kind, key) is None else None

    def make(
        self,
        kind: str,
        key: str,
        build: Callable[[Path], None],
        manifest: Mapping[str, Any],
        *,
        check: bool = False,
    ) -> tuple[Path, bool]:
        """The folder of an artifact, which is built if there is none; only one process at a time builds it.

        Args:
            kind: The artifact's kind.
            key: Names the artifact; differs between kinds too. Without "-" and ".".
            build: Fills the folder it is given, which is empty but for :data:`WORK`, where it finds what an interrupted
                build has left.
            manifest: What the manifest says beside ``kind``, ``key``, ``seconds`` and ``attempts`` (of all builds that
                it took), ``made_at`` and ``files``.
            check: Whether to read what is found, and to make it anew if it is not as it was made.

        Returns:
            The folder, and whether it was built now.

        Raises:
            UserError: If the disk is full, or may not be written to; what was made until then is kept.
        """
        what = f"{manifest.get('name', kind)} ({kind}/{key})"
        while True:
            found = self._found(kind, key, check)
            if found:
                return found, False
            lease = Lease(self.cache / "locks", key, what, renew_s=self._renew_s, stale_s=self._stale_s)
            done = False
            try:
                lease.acquire(lambda: self._progress.message(f"waiting for another process, which is making {what}"))
                if lease.after is Before.SILENT:
                    text = f"{what}: its maker has given no sign of life for {self._stale_s:g} s; taken over"
                    self._progress.message(text)
                found = self._found(kind, key, check)  # another process may have built it while this one waited
                made = found is None
                folder = found or self._make(kind, key, build, manifest, lease)
                done = True
                return folder, made
            except _LeaseLost as lost:
                cause = f" ({type(lost.__cause__).__name__}: {lost.__cause__})" if lost.__cause__ else ""
                text = f"{what}: this process was held up, and another has taken over{cause}; waiting for it"
                self._progress.message(" ".join(text.split()))
            finally:
                lease.release(forget=done)

    def _found(self, kind: str, key: str, check: bool) -> Path | None:
        folder = self.get(kind, key)
        return folder if folder and not (check and damage_of(folder)) else None

    def _make(
        self, kind: str, key: str, build: Callable[[Path], None], manifest: Mapping[str, Any], lease: Lease
    ) -> Path:
        """Builds an artifact under a lease, or publishes what another process had all but published."""
        tmp, folder = self.cache / "tmp", self.cache / kind / key
        kept = ""
        try:
            _require_writable(folder.parent)
            now = _require_writable(tmp)
            if folder.exists():
                flaw = flaw_of(folder, kind, key) or damage_of(folder)
                if flaw is None:  # by a maker that had lost its lease, just now
                    return folder
                self._set_aside(folder, f"{kind}-{key}", flaw)
            remove_abandoned(tmp, self.cache / "locks", key, now)
            draft = take_over(tmp, key, lease)
            kept = f"What was made until then is kept in {draft}, and the same command goes on from there"
            if flaw_of(draft, kind, key) is not None or damage_of(draft):
                self._build(draft, kind, key, build, manifest, lease)
            return self._publish(draft, folder, kind, key, lease)
        except Exception as error:
            fault = None if isinstance(error, UserError) else disk_fault(error, self.cache, kept)
            if fault is not None:
                raise UserError([fault]) from error
            if _is_lost(lease):
                raise _LeaseLost from error
            raise

    def _build(
        self,
        draft: Path,
        kind: str,
        key: str,
        build: Callable[[Path], None],
        manifest: Mapping[str, Any],
        lease: Lease,
    ) -> None:
        """Fills a draft, down to its manifest, and waits until all of it is on the disk."""
        empty(draft)
        attempt = Attempt(draft)
        attempt.save()
        lease.on_renew = attempt.save
        counts = True
        try:
            build(draft)
        except DamagedArtifact:
            counts = False  # of an input: nothing was tried
            raise
        finally:
            attempt.end(counts=counts)
        record = {
            **manifest,
            "kind": kind,
            "key": key,
            "seconds": round(attempt.seconds, 3),
            "attempts": attempt.number,
            "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "files": file_hashes(draft),
        }
        _open_to_others(draft)
        sync_tree(draft, skip=WORK)
        write_text(draft / MANIFEST, json.dumps(record, indent=2) + "\n")

    def _publish(self, draft: Path, folder: Path, kind: str, key: str, lease: Lease) -> Path:
        """Gives a complete draft its place."""
        # Before the draft gets its place: who goes on with a draft removes what is left of it; of an artifact, nobody.
        discard(set_work_aside(draft))
        if not lease.held():
            raise _LeaseLost
        try:
            os.rename(draft, folder)  # fails if there is an artifact already
        except OSError:
            # By a maker that had lost its lease between looking and renaming; or NFS has lost its answer.
            if self.get(kind, key) is None:
                raise
            discard(draft)
        sync_folder(folder.parent)
        return folder

    def _set_aside(self, folder: Path, name: str, flaw: str) -> None:
        """Moves aside what lies where an artifact is to appear."""
        aside = self.cache / "broken" / f"{name}-{secrets.token_hex(4)}"
        aside.parent.mkdir(exist_ok=True)
        os.rename(folder, aside)
        self._progress.message(f"{folder} {flaw}; moved to {aside}, made anew")


def _is_lost(lease: Lease) -> bool:
    """Whether somebody else certainly has the lease."""
    try:
        return not lease.held()
    except OSError:
        return False


def _require_writable(folder: Path) -> float:
    """Makes a folder, if it is missing, and a file in it; returns the time by the file system's clock."""
    folder.mkdir(parents=True, exist_ok=True)
    for left in folder.glob(f"{_PROBE}*"):  # by processes that died just then
        left.unlink(missing_ok=True)
    with (folder / f"{_PROBE}{secrets.token_hex(8)}").open("xb") as probe:
        now = os.fstat(probe.fileno()).st_mtime
        Path(probe.name).unlink(missing_ok=True)
    return now


def _open_to_others(draft: Path) -> None:
    """Gives files and folders the modes of new ones: libraries that write to temporary files make them private."""
    probe = draft / f".{secrets.token_hex(8)}"
    probe.touch(0o666)
    modes = {False: stat.S_IMODE(probe.stat().st_mode), True: stat.S_IMODE(draft.stat().st_mode)}
    probe.unlink()
    for path in draft.rglob("*"):
        about = path.lstat()
        mode = modes[stat.S_ISDIR(about.st_mode)]
        shared = stat.S_ISREG(about.st_mode) and about.st_nlink > 1  # also a file of somebody else, under another name
        if not (shared or stat.S_ISLNK(about.st_mode)) and stat.S_IMODE(about.st_mode) != mode:
            path.chmod(mode)
