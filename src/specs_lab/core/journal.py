"""A journal of the results of expensive calls, so that a run which is interrupted and started again repeats none.

The run itself starts over and makes the same calls in the same order of names; those that the journal has are answered
from it. A result is in the journal, on disk, before anybody has seen it.

    <CRC-32 of the rest, 8 hex digits> {"key": "...", "value": ...}

A process that dies may leave half a line, and a disk may spoil one: what does not fit its checksum counts as not there.
"""

from __future__ import annotations

import json
import os
import threading
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

from specs_lab.core.atomic import sync_folder

_CHECKSUM = 8


class Recall(Protocol):
    """Answers a call from memory, or makes it."""

    def __call__(self, key: str, make: Callable[[], Any], /) -> Any:
        """The result of ``make`` under a key, as plain JSON data."""
        ...


def make_anew(key: str, make: Callable[[], Any], /) -> Any:
    """The :class:`Recall` that remembers nothing."""
    del key
    return make()


class Journal:
    """The results so far; may be asked from several threads.

    Each result is written by opening the file anew: a run that was held up, and whose folder somebody else has taken
    over and renamed, then fails here instead of writing into the other's journal.

    Args:
        path: The file; made with the first result.
        tell: Told if results are damaged.
    """

    def __init__(self, path: Path, tell: Callable[[str], None] = lambda _: None) -> None:
        self._path, self._tell = path, tell
        self._lock = threading.Lock()
        self._places: dict[str, tuple[int, int]] = {}  # values stay on disk: there may be gigabytes
        self._size = 0
        if path.is_file():
            self._scan()

    def __iter__(self) -> Iterator[str]:
        """The keys that it has, in the order in which they came."""
        return iter(list(self._places))

    def __len__(self) -> int:
        return len(self._places)

    def __call__(self, key: str, make: Callable[[], Any], /) -> Any:
        """The result under a key: from the journal, else made now and kept.

        Args:
            key: Names the call; equal for equal calls only.
            make: Makes the result: plain JSON data, without tuples or keys that are no strings.

        Raises:
            OSError: If it cannot be written, or the folder is gone.
        """
        with self._lock:
            place = self._places.get(key)
        if place is not None:
            return self._read(*place)
        value = make()
        with self._lock:
            self._append(key, value)
            place = self._places[key]
        return self._read(*place)  # as it will be when it is recalled: tuples are lists

    def _scan(self) -> None:
        """Finds what there is, and cuts off half a line at the end."""
        damaged = 0
        with self._path.open("rb") as file:
            for line in file:
                if not line.endswith(b"\n"):
                    break
                self._size += len(line)
                record = _record(line)
                if record is None:
                    damaged += 1
                else:
                    self._places[record["key"]] = (self._size - len(line), len(line))
        if damaged:
            self._tell(f"{damaged} of the results in {self._path} are damaged and made anew")
        if self._path.stat().st_size != self._size:
            os.truncate(self._path, self._size)

    def _read(self, start: int, length: int) -> Any:
        with self._path.open("rb") as file:
            file.seek(start)
            record = _record(file.read(length))
        if record is None:
            raise OSError(f"{self._path} has changed while it was in use")
        return record["value"]

    def _append(self, key: str, value: Any) -> None:
        text = json.dumps({"key": key, "value": value}, ensure_ascii=True).encode()
        line = b"%08x %s\n" % (zlib.crc32(text), text)
        if not self._size:  # afterwards a file that has vanished with its folder is not made again
            self._path.parent.mkdir(parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_APPEND | (0 if self._size else os.O_CREAT)
        descriptor = os.open(self._path, flags, 0o666)
        try:
            _write_all(descriptor, line)
            os.fsync(descriptor)
        except OSError:
            os.ftruncate(descriptor, self._size)  # half a line would spoil the next one, of another thread
            raise
        finally:
            os.close(descriptor)
        if not self._size:
            sync_folder(self._path.parent)
        self._places[key] = (self._size, len(line))
        self._size += len(line)


def _write_all(descriptor: int, data: bytes) -> None:
    """Writes all of the data, which one call need not do."""
    while data:
        data = data[os.write(descriptor, data) :]


def _record(line: bytes) -> dict[str, Any] | None:
    """What a line says, or None if it is not as it was written."""
    checksum, _, text = line.rstrip(b"\n").partition(b" ")
    if len(checksum) != _CHECKSUM or checksum != b"%08x" % zlib.crc32(text):
        return None
    return json.loads(text)
