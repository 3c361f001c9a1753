"""Artifacts in the making: how one that was interrupted is continued, by whom, and for how long it is kept.

    <cache>/tmp/<key>-<token>/         the folder that the runner fills; the token is that of its maker's lease
    <cache>/tmp/<key>-<token>/.work/   what a run that goes on finds; all else is removed before it starts

Who gets the lease on a key gives the draft that it finds the name of its own token. A maker that has lost its lease,
because it was suspended for long, and comes back, thus finds no folder where it left it: it can neither publish nor
write into the new maker's files by name. It may still have files open. Unless it is known to be dead, the new maker
therefore copies what is in ``.work``, but for the folders in ``.work/checkpoints``: they got their names by a rename
when they were complete, are never written to again, and are linked.

    <cache>/tmp/<key>-<token>.old/    a draft that is being copied
    <cache>/tmp/<key>-<token>.copy/   the copy, until it is complete
    <cache>/tmp/<key>-<token>.spent/  what is being removed
"""

from __future__ import annotations

import json
import os
import shutil
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from specs_lab.core.atomic import write_text
from specs_lab.core.lease import Before, Lease
from specs_lab.stages.artifacts import MANIFEST

WORK = ".work"
"""Folder, in that of an artifact in the making, of what an interrupted run leaves for the one that goes on."""
SEALED = "checkpoints"
"""Folder in it whose own folders do not change once they have a name that does not begin with a dot."""
STALE_DRAFT_DAYS = 30
_ATTEMPTS = ".attempts.json"
_DAY = 86400
_OLD, _COPY, _SPENT = ".old", ".copy", ".spent"


class Attempt:
    """Counts how often, and for how many seconds, an artifact has been in the making, over all processes.

    Args:
        draft: The folder that is filled.
    """

    def __init__(self, draft: Path) -> None:
        self._path = draft / WORK / _ATTEMPTS
        before = _counted(draft)
        self.number = before["attempts"] + 1
        self._before: float = before["seconds"]
        self._start = time.monotonic()
        self._lock = threading.Lock()
        self._over = False

    @property
    def seconds(self) -> float:
        """Seconds so far, of this attempt and those before."""
        return self._before + time.monotonic() - self._start

    def save(self) -> None:
        """Writes the figures down; where that cannot be done they are a little short later, which is no harm."""
        with self._lock, suppress(OSError):
            if not self._over:
                self._write(self.number, self.seconds)

    def end(self, *, counts: bool = True) -> None:
        """Writes them down for the last time, or as if there had been no attempt."""
        self.save()
        with self._lock, suppress(OSError):
            self._over = True
            if not counts:
                self._write(self.number - 1, self._before)

    def _write(self, attempts: int, seconds: float) -> None:
        write_text(self._path, json.dumps({"attempts": attempts, "seconds": seconds}), sync=False)


def take_over(tmp: Path, key: str, lease: Lease) -> Path:
    """The draft of a key, now the lease's owner's: that of an earlier maker if there is one, else an empty one."""
    folder = tmp / f"{key}-{lease.token}"
    found = sorted(path for path in tmp.iterdir() if path.name.startswith(f"{key}-"))
    usable = [path for path in found if path.suffix not in (_COPY, _SPENT)]
    best = max(usable, key=_worth, default=None)
    if best is not None:
        its_maker_has_ended = lease.after in (Before.RELEASED, Before.DEAD)
        at_rest = its_maker_has_ended and best.name == f"{key}-{lease.follows}"  # not that of somebody before
        if at_rest or _is_complete(best):
            os.rename(best, folder)
        else:
            old = best if best.suffix == _OLD else folder.with_suffix(_OLD)
            os.rename(best, old)
            _copy(old, folder)
            discard(old)
    for path in found:
        discard(path)
    (folder / WORK).mkdir(parents=True, exist_ok=True)
    return folder


def empty(draft: Path) -> None:
    """Leaves in a draft only what is meant for a run that goes on."""
    for path in draft.iterdir():
        if path.name == WORK:
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def set_work_aside(draft: Path) -> Path:
    """Takes the work folder out of a draft that is complete; returns where it is, to be discarded."""
    spent = draft.with_suffix(_SPENT)
    if (draft / WORK).exists():
        os.rename(draft / WORK, spent)
    return spent


def discard(folder: Path) -> None:
    """Removes a folder, if it is there; whoever still writes into it by name finds none at once."""
    spent = folder if folder.suffix == _SPENT else folder.with_name(folder.name + _SPENT)
    if spent.exists():
        shutil.rmtree(spent)
    if folder.exists():
        os.rename(folder, spent)
        shutil.rmtree(spent)


def remove_abandoned(tmp: Path, locks: Path, own: str, now: float) -> None:
    """Removes drafts that nobody has touched for :data:`STALE_DRAFT_DAYS` and nobody is making.

    Args:
        tmp: Where drafts are.
        locks: Where their leases are.
        own: The key that is not looked at.
        now: The present by the clock of the file system, which has also set the times of files.
    """
    for path in sorted(path for path in tmp.iterdir() if path.is_dir()):
        key = path.name.partition("-")[0]
        if key == own or now - _newest(path) < STALE_DRAFT_DAYS * _DAY:
            continue
        leases = [p.stat().st_mtime for p in locks.glob(f"{key}.*")]
        lease = Lease(locks, key)
        try:
            # A living owner renews its lease every few seconds.
            if lease.try_acquire(silent=now - max(leases, default=now) >= STALE_DRAFT_DAYS * _DAY):
                discard(path)
        finally:
            lease.release(forget=True)


def _copy(old: Path, folder: Path) -> None:
    copy = folder.with_suffix(_COPY)
    source = old / WORK
    (copy / WORK).mkdir(parents=True)
    if source.is_dir():
        shutil.copytree(source, copy / WORK, copy_function=lambda a, b: _link_or_copy(source, a, b), dirs_exist_ok=True)
    os.rename(copy, folder)


def _link_or_copy(work: Path, source: str, target: str) -> None:
    parts = Path(source).relative_to(work).parts
    if len(parts) > 2 and parts[0] == SEALED and not parts[1].startswith("."):
        try:
            os.link(source, target)
        except OSError:
            pass  # no hard links here: copied as well
        else:
            return
    shutil.copyfile(source, target)


def _is_complete(draft: Path) -> bool:
    return (draft / MANIFEST).is_file()


def _worth(draft: Path) -> tuple[bool, int, bool]:
    """Which of several drafts to go on in: the greatest."""
    return _is_complete(draft), _counted(draft)["attempts"], draft.suffix != _OLD


def _counted(draft: Path) -> dict[str, Any]:
    """What is known of earlier attempts at a draft."""
    try:
        record = json.loads((draft / WORK / _ATTEMPTS).read_text(encoding="utf-8"))
        return {"attempts": int(record["attempts"]), "seconds": float(record["seconds"])}
    except (OSError, ValueError, KeyError, TypeError):
        return {"attempts": 0, "seconds": 0.0}


def _newest(folder: Path) -> float:
    """The latest time at which something in a folder was written; negative infinity if it is gone."""
    times = [float("-inf")]
    for place, _, names in os.walk(folder):
        for path in (place, *(os.path.join(place, name) for name in names)):
            with suppress(FileNotFoundError):
                times.append(os.lstat(path).st_mtime)
    return max(times)
