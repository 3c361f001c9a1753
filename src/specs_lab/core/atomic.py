"""Files that are either as they were or wholly new, also after a power cut."""

from __future__ import annotations

import errno
import os
import secrets
from pathlib import Path

_FOLDERS_ARE_NOT_SYNCED = frozenset({errno.EINVAL, errno.ENOTSUP})
"""What file systems answer that have no fsync for folders, e.g. some over a network."""


def write_text(path: Path, text: str, *, sync: bool = True) -> None:
    """Writes a text file, in UTF-8; see :func:`write_bytes`."""
    write_bytes(path, text.encode(), sync=sync)


def write_bytes(path: Path, data: bytes, *, sync: bool = True) -> None:
    """Writes a file under a temporary name in the same folder and renames it; its mode is what the umask gives.

    Args:
        path: The file; replaced if it exists.
        data: What it is to hold.
        sync: Whether it must be on the disk, and not only in the system's memory, when this returns.

    Raises:
        OSError: If it cannot be written; ``path`` is then as it was.
    """
    draft = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    try:
        with draft.open("xb") as file:
            file.write(data)
            file.flush()
            if sync:
                os.fsync(file.fileno())
        os.replace(draft, path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    if sync:
        sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Makes sure that a folder's list of names is on the disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _FOLDERS_ARE_NOT_SYNCED:
            raise
    finally:
        os.close(descriptor)


def sync_tree(folder: Path, skip: str = "") -> None:
    """Makes sure that all files and folders below a folder, and it itself, are on the disk; links are not followed.

    Args:
        folder: The folder.
        skip: Name of folders that are left out.
    """
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if name != skip]
        for name in names:
            path = Path(place, name)
            if path.is_symlink() or not path.is_file():
                continue
            descriptor = os.open(path, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        sync_folder(Path(place))
