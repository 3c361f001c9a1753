"""Unpacks the archives in which some datasets keep their pictures: once, beside the store, never outside the folder."""

from __future__ import annotations

import hashlib
import os
import shutil
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Sequence
from lzma import LZMAError
from pathlib import Path

from specs_lab.core.errors import Fault, UserError


def unpacked(archives: Sequence[Path]) -> Path:
    """The folder with the content of archives, all in one place.

    Args:
        archives: Zip or tar files.

    Raises:
        UserError: If one is not there, is of another kind, or is broken.
    """
    missing = [path for path in archives if not path.is_file()]
    if missing:
        raise UserError([Fault(str(path), "there is no such archive", "download it too") for path in missing])
    folder = _cache() / _name(archives)
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".unpacking-") as made:
        content = Path(made) / "content"
        content.mkdir()
        for archive in archives:
            _unpack(archive, content)
        try:
            content.rename(folder)
        except OSError:  # another process was faster
            if not folder.is_dir():
                raise
    return folder


def _cache() -> Path:
    from specs_lab.core.cache import cache_folder

    return Path(cache_folder()) / "pictures"


def _name(archives: Sequence[Path]) -> str:
    """A name that changes when an archive is replaced."""
    facts = [(os.fspath(path.resolve()), path.stat().st_size, path.stat().st_mtime_ns) for path in archives]
    return hashlib.sha256(repr(facts).encode()).hexdigest()[:24]


def _unpack(archive: Path, folder: Path) -> None:
    try:
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as file:
                _check_room(archive, sum(entry.file_size for entry in file.infolist()), folder)
                file.extractall(folder)  # leaves out what would lead outside
        elif tarfile.is_tarfile(archive):
            with tarfile.open(archive) as file:
                _unpack_tar(archive, file, folder)
        else:
            raise UserError([Fault(str(archive), "is neither a zip nor a tar file", "unpack it yourself")])
    except (zipfile.BadZipFile, tarfile.TarError, zlib.error, LZMAError, EOFError, OSError) as error:
        raise UserError([Fault(str(archive), f"cannot be unpacked ({error})", "download it anew")]) from error
    except RuntimeError as error:  # a password, a way of packing that Python does not know
        raise UserError([Fault(str(archive), f"cannot be unpacked ({error})", "unpack it yourself")]) from error


def _unpack_tar(archive: Path, file: tarfile.TarFile, folder: Path) -> None:
    """Unpacks a tar file; only as it is read does it say how large its content is."""
    for entry in file:
        _check_room(archive, entry.size, folder)
        file.extract(entry, folder, filter="data")  # refuses what would lead outside
    while file.fileobj is not None and file.fileobj.read(2**20):  # the checksum of what is packed stands at its end
        pass


def _check_room(archive: Path, needed: int, folder: Path) -> None:
    free = shutil.disk_usage(folder).free
    if needed > free:
        what = f"takes {needed / 1e9:.1f} GB unpacked, and {free / 1e9:.1f} GB are free"
        raise UserError([Fault(str(archive), what, "make room, or set SPECS_LAB_CACHE to another disk")])
