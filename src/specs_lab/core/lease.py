"""A lock among processes on any number of machines that share a folder, which outlives no owner.

    <folder>/<name>.<n>.lease    the n-th lease on a name; the one with the highest number counts

**Taking.** A lease is a file that is linked to its name when complete: a link fails if the name exists, also on NFS,
whose answer is not trusted but checked by the number of links, since it may get lost. Who wants the lease after number
``n`` makes number ``n + 1``, which only one can. Nobody ever removes, renames or overwrites the lease of another who
may be alive, so there is no moment at which a live one is missing. Who was slow and made a number that is no longer
the highest sees that, and withdraws. Lower numbers are removed by the owner of a higher one.

**Keeping.** A thread of the owner adds one to a counter inside the file every few seconds. It writes through the
descriptor that it opened, so an owner that has lost its lease writes to a file that nobody looks at.

**Taking over.** A lease may be followed by the next number

* at once if its owner has released it, or is known to be dead: on this machine since its last start there is no such
  process, or another with its id; or the machine has been started again since;
* if its counter has stood still for ``stale_s`` while somebody waited for it, by the monotonic clock of who waits. Each
  look counts for a few seconds at most, so a waiter that was itself suspended has not waited. Times of files and
  clocks of other machines play no role.

**Losing.** An owner that was suspended, or cut off, may have lost its lease without knowing; it asks :meth:`Lease.held`
before it does what only an owner may. There is a gap between asking and doing, so what is protected must also be named
by :attr:`Lease.token`, and who takes over must rename it (see :mod:`specs_lab.stages.drafts`). :attr:`Lease.after`
says whether the owner before may still be writing.

A forked child has no part in its parent's lease: it neither renews nor releases it.
"""

from __future__ import annotations

import errno
import json
import os
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import asdict
from enum import Enum
from pathlib import Path
from typing import Any

from specs_lab.core.disk import disk_fault
from specs_lab.core.errors import UserError
from specs_lab.core.processes import Process

RENEW_S = 5.0
STALE_S = 120.0
_POLL_S, _MOST_POLL_S = 0.1, 1.0
_SUFFIX = ".lease"
_CANNOT_LINK = frozenset({errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS})
"""What file systems answer that have no hard links; they have an exclusive creation of files instead."""


class Before(Enum):
    """What became of the owner before."""

    NOBODY = "there was none that is known of"
    RELEASED = "it released the lease"
    DEAD = "it is dead"
    SILENT = "it has not renewed the lease; it may be suspended or cut off, and come back"


class Lease:
    """One process's wish for, or hold on, a name.

    Args:
        folder: Where leases lie; made when missing. All who compete must see the same.
        name: What is wanted; may not contain a slash.
        what: What for, for people who look at the file.
        renew_s: Seconds between two renewals.
        stale_s: Seconds without one after which the lease may be taken over.

    Attributes:
        token: Random; no other lease has it.
        after: What became of the owner before, once this one owns.
        follows: That owner's token, "" if it is not known.
        on_renew: Called by the renewing thread after each renewal; may not raise.
    """

    def __init__(
        self, folder: Path, name: str, what: str = "", *, renew_s: float = RENEW_S, stale_s: float = STALE_S
    ) -> None:
        self.token = secrets.token_hex(8)
        self.after = Before.NOBODY
        self.follows = ""
        self.on_renew: Callable[[], None] = lambda: None
        self._folder, self._name, self._what = folder, name, what
        self._renew_s, self._stale_s = renew_s, stale_s
        self._owner = Process.this()
        self._number = 0
        self._file: int | None = None
        self._count = 0
        self._writing = threading.Lock()
        self._ended = threading.Event()
        self._seen: tuple[int, bytes] | None = None
        self._looked, self._silent = 0.0, 0.0

    def acquire(self, waiting: Callable[[], None] = lambda: None) -> None:
        """Waits until the lease is had; calls ``waiting`` if that is not at once.

        Raises:
            UserError: If the folder cannot be written to.
        """
        if self.try_acquire():
            return
        waiting()
        pause = _POLL_S
        while not self.try_acquire():
            time.sleep(min(pause, self._renew_s))
            pause = min(_MOST_POLL_S, 1.1 * pause)

    def try_acquire(self, *, silent: bool = False) -> bool:
        """Takes the lease if it can be had now.

        Args:
            silent: Whether the caller knows that the owner, if there is one, has long been silent.

        Raises:
            UserError: If the folder cannot be written to.
        """
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            now = time.monotonic()  # before the look, so that what is seen then has been so until now
            newest = self._newest()
            self.after, self.follows = Before.NOBODY, ""
            if newest is not None and not self._is_over(newest, now, silent):
                return False
            return self._claim(newest[0] + 1 if newest else 1)
        except OSError as error:
            fault = disk_fault(error, self._folder, "what is finished there can still be used")
            if fault is None:
                raise
            raise UserError([fault]) from error
        finally:
            if self._file is None:
                self._withdraw()

    def held(self) -> bool:
        """Whether this process has the lease, still.

        Raises:
            OSError: If that cannot be told.
        """
        if self._file is None or self._owner.pid != os.getpid():
            return False
        probe = self._folder / f".{self._name}.{self.token}.probe"
        try:
            probe.touch()  # a change of its own makes an NFS client read the folder anew
        except FileNotFoundError:  # the folder is gone, and the lease with it
            return False
        probe.unlink(missing_ok=True)
        newest = self._newest()
        return newest is not None and newest[0] == self._number and self._is_mine(newest[1])

    def release(self, *, forget: bool = False) -> None:
        """Gives the lease up; does nothing for who has none, nor in a forked child.

        Args:
            forget: Leave no trace, not even of the number. Only for when what is protected is complete, so that two who
                then both get the name by an unlucky timing find nothing to do.
        """
        if self._owner.pid != os.getpid() or self._file is None:
            return
        self._ended.set()
        with self._writing:
            file, self._file = self._file, None
            try:
                if forget:
                    self._withdraw()
                else:
                    os.pwrite(file, self._record("free"), 0)
                    os.fsync(file)
            except OSError:
                pass  # the disk takes no more; others find this process dead, or silent
            finally:
                os.close(file)
        self._number = 0

    def _claim(self, number: int) -> bool:
        """Makes the lease of a number; False if somebody else has."""
        path, draft = self._path(number), self._folder / f".{self._name}.{self.token}.draft"
        self._number, self._owner = number, Process.this()
        try:
            _write_whole(draft, self._record("held"))
            if not _link(draft, path) and not self._is_mine(_read(path)):
                return False
            self._file = file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:  # a higher number came, and its owner has cleared this one away
            return False
        finally:
            draft.unlink(missing_ok=True)
        numbers = self._numbers()
        if numbers and numbers[-1] > number:
            os.close(file)
            self._file = None
            return False
        self._clear(numbers)
        self._ended.clear()
        threading.Thread(target=self._renew, name=f"lease {self._name}", daemon=True).start()
        return True

    def _clear(self, numbers: list[int]) -> None:
        """Removes what is over, and what processes that died on the way have left; who still lives tries again."""
        begun = [self._folder / name for name in os.listdir(self._folder) if name.startswith(f".{self._name}.")]
        for path in (*begun, *(self._path(number) for number in numbers if number < self._number)):
            path.unlink(missing_ok=True)

    def _withdraw(self) -> None:
        """Removes the lease that this process has made, if it has."""
        if self._number and self._is_mine(_read(self._path(self._number))):
            self._path(self._number).unlink(missing_ok=True)
        self._number = 0

    def _renew(self) -> None:
        while not self._ended.wait(self._renew_s):
            with self._writing:
                if self._file is None:
                    return
                self._count += 1
                try:
                    os.pwrite(self._file, self._record("held"), 0)
                    os.fsync(self._file)
                except OSError:
                    continue  # tried again; if it stays so, the lease is lost, which `held` tells
            self.on_renew()

    def _is_over(self, newest: tuple[int, bytes], now: float, silent: bool) -> bool:
        """Whether the newest lease may be followed; notes why, and for how long it has been silent."""
        record = _parse(newest[1])
        if newest != self._seen:
            self._seen, self._silent = newest, 0.0
        else:
            self._silent += min(now - self._looked, self._renew_s)
        self._looked = time.monotonic()
        self.follows = record["token"] if record else ""
        if record is not None and record["state"] == "free":
            self.after = Before.RELEASED
        elif record is not None and record["owner"].is_gone():
            self.after = Before.DEAD
        elif silent or self._silent >= self._stale_s:
            self.after = Before.SILENT
        else:
            return False
        return True

    def _newest(self) -> tuple[int, bytes] | None:
        """Number and content of the newest lease, or None if there is none."""
        while numbers := self._numbers():
            content = _read(self._path(numbers[-1]))
            if content is not None:
                return numbers[-1], content
            time.sleep(0.01)  # just removed; an NFS client's list of names may be some seconds behind
        return None

    def _numbers(self) -> list[int]:
        """The numbers of all leases on the name, ascending."""
        start = f"{self._name}."
        inner = (n[len(start) : -len(_SUFFIX)] for n in os.listdir(self._folder) if n.startswith(start))
        return sorted(int(number) for number in inner if number.isdecimal())

    def _path(self, number: int) -> Path:
        return self._folder / f"{self._name}.{number}{_SUFFIX}"

    def _is_mine(self, content: bytes | None) -> bool:
        record = _parse(content or b"")
        return record is not None and record["token"] == self.token

    def _record(self, state: str) -> bytes:
        """The file's content; of the same length at every renewal."""
        about = {"state": state, "count": f"{self._count:012d}", "token": self.token, "what": self._what}
        return json.dumps({**about, "owner": asdict(self._owner)}).encode() + b"\n"


def _parse(content: bytes) -> dict[str, Any] | None:
    """What a lease says; None if it is not, or not yet, whole."""
    try:
        record: Any = json.loads(content)
        return {"state": record["state"], "token": record["token"], "owner": Process(**record["owner"])}
    except (ValueError, TypeError, KeyError):
        return None


def _read(path: Path) -> bytes | None:
    """A file's content, or None if there is no such file."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno == errno.ESTALE:  # removed by another machine
            return None
        raise


def _write_whole(path: Path, content: bytes) -> None:
    """Writes a new file and waits until it is on the disk."""
    with path.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _link(draft: Path, path: Path) -> bool:
    """Gives a draft its name; False if the name was taken (perhaps by this very call, see the module)."""
    try:
        os.link(draft, path)
    except FileExistsError:
        return draft.stat().st_nlink == 2
    except OSError as error:
        if error.errno not in _CANNOT_LINK:
            raise
        try:
            _write_whole(path, draft.read_bytes())
        except FileExistsError:
            return False
    return True
