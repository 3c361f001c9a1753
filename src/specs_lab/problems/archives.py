"""Unpacks the archives in which some datasets keep their pictures: once, beside the store, never outside the folder.

Only files and folders are taken over, each written here: neither links nor permissions nor owners.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Sequence
from lzma import LZMAError
from pathlib import Path, PurePosixPath
from typing import IO

from specs_lab.core.errors import Fault, UserError

MOST_ENTRIES = 5_000_000
"""Most files and folders of an archive."""
MOST_RATIO = 200
"""How many times its size an archive may claim to be when unpacked; pictures, which are packed already, take 1."""
MOST_UNPACKED = 2**30
"""An archive that claims no more bytes than this is unpacked whatever its ratio."""
_LONGEST_TEXT = 2**20
_TEXTS = (
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
)


def unpacked(archives: Sequence[Path]) -> Path:
    """The folder with the content of archives, all in one place.

    Args:
        archives: Zip or tar files.

    Raises:
        UserError: If one is not there, is of another kind, is broken, too large, or would write elsewhere.
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
    account = _Account(archive, folder)
    try:
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as file:
                _unpack_zip(file, folder, account)
        elif tarfile.is_tarfile(archive):
            with tarfile.open(archive, tarinfo=_BoundedTarInfo) as file:
                _unpack_tar(file, folder, account)
        else:
            raise UserError([Fault(str(archive), "is neither a zip nor a tar file", "unpack it yourself")])
    except (zipfile.BadZipFile, tarfile.TarError, zlib.error, LZMAError, EOFError, OSError, ValueError) as error:
        raise UserError([Fault(str(archive), f"cannot be unpacked ({error})", "download it anew")]) from error
    except RuntimeError as error:  # a password, a way of packing that Python does not know
        raise UserError([Fault(str(archive), f"cannot be unpacked ({error})", "unpack it yourself")]) from error


class _Account:
    """What has been unpacked of an archive so far, and what may be: few bytes can claim to be very many.

    Args:
        archive: The archive.
        folder: Where it is unpacked to.
    """

    def __init__(self, archive: Path, folder: Path) -> None:
        self._archive, self._folder = archive, folder
        self._most = max(MOST_UNPACKED, MOST_RATIO * archive.stat().st_size)
        self._entries = self._total = 0

    def place(self, name: str, size: int) -> Path:
        """Where an entry goes, once it is sure that it may.

        Args:
            name: Its name in the archive.
            size: Its size when unpacked.

        Raises:
            UserError: If it would lie outside the folder, or the archive is too large.
        """
        parts = PurePosixPath(name).parts
        if not parts or "\0" in name or "\\" in name or ".." in parts or parts[0] == "/":
            raise self._refusal(f"its entry {name[:200]!r} would lie outside of the folder that it is unpacked to")
        self._entries += 1
        self._total += size
        if self._entries > MOST_ENTRIES:
            raise self._refusal(f"it has more than {MOST_ENTRIES} entries")
        if self._total > self._most:
            claimed, packed = self._total / 1e9, self._archive.stat().st_size / 1e9
            raise self._refusal(f"it claims to be {claimed:.1f} GB or more, packed into {packed:.3f} GB")
        _check_room(self._archive, size, self._folder)
        target = self._folder.joinpath(*parts)
        target.parent.mkdir(parents=True, exist_ok=True)
        return target

    def link(self, name: str) -> UserError:
        """The refusal of an entry that is neither a file nor a folder."""
        return self._refusal(f"its entry {name[:200]!r} is neither a file nor a folder")

    def _refusal(self, what: str) -> UserError:
        fix = "if you trust it, unpack it yourself beside the data, and leave it out of `archives`"
        return UserError([Fault(str(self._archive), f"is not unpacked: {what}", fix)])


class _BoundedTarInfo(tarfile.TarInfo):
    """The head of a tar file's entry; long names and the like, which are read into memory whole, are bounded."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> _BoundedTarInfo:
        """Reads a head."""
        found = super().frombuf(buf, encoding, errors)
        if found.type in _TEXTS and found.size > _LONGEST_TEXT:
            raise ValueError(f"an entry has a name or notes of {found.size} bytes")
        return found


def _unpack_zip(file: zipfile.ZipFile, folder: Path, account: _Account) -> None:
    entries = file.infolist()
    _check_room(Path(file.filename or ""), sum(entry.file_size for entry in entries), folder)
    for entry in entries:
        place = account.place(entry.filename, entry.file_size)
        if entry.is_dir():
            place.mkdir(exist_ok=True)
            continue
        if stat.S_IFMT(entry.external_attr >> 16) not in (0, stat.S_IFREG):
            raise account.link(entry.filename)
        with file.open(entry) as packed:
            _write(packed, place)


def _unpack_tar(file: tarfile.TarFile, folder: Path, account: _Account) -> None:
    """Unpacks a tar file; only as it is read does it say how large its content is."""
    del folder
    for entry in file:
        if not entry.isdir() and not entry.isreg():
            raise account.link(entry.name)
        place = account.place(entry.name, entry.size)
        if entry.isdir():
            place.mkdir(exist_ok=True)
        elif (packed := file.extractfile(entry)) is not None:
            with packed:
                _write(packed, place)
    while file.fileobj is not None and file.fileobj.read(2**20):  # the checksum of what is packed stands at its end
        pass


def _write(packed: IO[bytes], place: Path) -> None:
    """Writes a file; nothing but its content is taken over, in particular no permission."""
    place.unlink(missing_ok=True)
    with place.open("xb") as file:
        shutil.copyfileobj(packed, file, 2**20)


def _check_room(archive: Path, needed: int, folder: Path) -> None:
    free = shutil.disk_usage(folder).free
    if needed > free:
        what = f"takes {needed / 1e9:.1f} GB unpacked, and {free / 1e9:.1f} GB are free"
        raise UserError([Fault(str(archive), what, "make room, or set SPECS_LAB_CACHE to another disk")])
