"""What is wrong with a disk when something could not be written, said so that one can do something about it."""

from __future__ import annotations

import errno
import os
import resource
import shutil
from collections.abc import Iterator
from pathlib import Path

from specs_lab.core.errors import Fault

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_CLOSED = (errno.EROFS, errno.EACCES, errno.EPERM)
_TORCH_WRITER = ("PytorchStreamWriter failed", "inline_container.cc")
"""How PyTorch says that a file could not be written; it does not say why."""
_NOTHING_FREE = 1 << 20


def disk_fault(error: BaseException, place: Path, kept: str = "") -> Fault | None:
    """The fault behind an error, if it is that a disk is full or may not be written to; else None.

    Looks at the error and at those that it was raised from. Libraries that hide the system's error number are known by
    the system's words in their message; PyTorch, which gives no reason, by there being no room left.

    Args:
        error: What was raised.
        place: What was being written, or the folder of it.
        kept: A sentence on what is not lost.
    """
    place = place.absolute()
    for link in _chain(error):
        number = _number(link, place)
        path = _path(link, place)
        if number in _FULL:
            return _full(number, path, kept)
        named = number == errno.EROFS or (isinstance(link, OSError) and link.filename is not None)
        if number in _CLOSED and named and path.is_relative_to(place):
            what = f"cannot be written to ({os.strerror(number)})"
            fix = "make it writable for this user, or choose another folder (paths.cache, $SPECS_LAB_CACHE)"
            return Fault(str(path), what, f"{fix}. {kept}".rstrip(". "))
    return None


def mount_of(path: Path) -> Path:
    """The folder where the disk of a path is mounted; the path need not exist."""
    path = _existing(path)
    while not path.is_mount():
        path = path.parent
    return path


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """An error and what it was raised from, latest first."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def _number(error: BaseException, place: Path) -> int | None:
    """The system's error number behind an error, if it says one."""
    if isinstance(error, OSError) and error.errno in (*_FULL, *_CLOSED):
        return error.errno
    text = str(error)
    for number in _FULL:
        if os.strerror(number) in text or f"(os error {number})" in text:  # the latter: libraries written in Rust
            return number
    writer = isinstance(error, RuntimeError) and any(mark in text for mark in _TORCH_WRITER)
    return errno.ENOSPC if writer and shutil.disk_usage(_existing(place)).free < _NOTHING_FREE else None


def _path(error: BaseException, place: Path) -> Path:
    """What could not be written, as closely as it is known: of what a copy or a link names, that which is in place."""
    names = (error.filename2, error.filename) if isinstance(error, OSError) else ()
    paths = [Path(os.fsdecode(name)).absolute() for name in names if isinstance(name, str | bytes)]
    return next((path for path in paths if path.is_relative_to(place)), paths[-1] if paths else place)


def _full(number: int, path: Path, kept: str) -> Fault:
    mount = mount_of(path)
    room = shutil.disk_usage(mount)
    left = f"{_size(room.free)} of {_size(room.total)} are free"
    if number == errno.EDQUOT:
        what = f"the quota on the disk {mount} is used up ({left} on the whole)"
    elif number == errno.EFBIG:
        limit, _ = resource.getrlimit(resource.RLIMIT_FSIZE)
        most = "" if limit == resource.RLIM_INFINITY else f", at most {_size(limit)} (ulimit -f)"
        what = f"a file became larger than it may be on the disk {mount}{most}; {left}"
    elif os.statvfs(mount).f_files and not os.statvfs(mount).f_favail:
        what = f"the disk {mount} can hold no more files (its inodes are used up; {left})"
    else:
        what = f"the disk {mount} is full ({left})"
    fix = "raise the limit" if number == errno.EFBIG else "make room there, or choose another disk"
    return Fault(str(path), what, f"{fix}. {kept}".rstrip(". "))


def _existing(path: Path) -> Path:
    path = path.absolute()
    while not path.exists():
        path = path.parent
    return path


def _size(count: int) -> str:
    size = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"
