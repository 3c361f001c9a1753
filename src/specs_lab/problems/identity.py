"""What names the content of local data: a hash of the tables and archives, and the names and sizes of other files."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path

_HASHED = (".parquet", ".json", ".jsonl", ".arrow", ".csv", ".zip", ".tar", ".gz", ".tgz", ".md")
"""Files that are hashed. Pictures beside a table may be a million: of these, names and sizes have to do."""


def content_hash(path: Path) -> str:
    """A hash of a local table that does not depend on where it lies.

    Args:
        path: A file, or a folder.
    """
    files = [path] if path.is_file() else sorted(one for one in path.rglob("*") if one.is_file())
    digest = hashlib.sha256()
    for file in files:
        stat = file.stat()
        name = "" if file == path else file.relative_to(path).as_posix()
        digest.update(f"{name}\0{stat.st_size}\0".encode())
        if file.suffix.lower() in _HASHED:
            digest.update(_hash_as_of(file, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns).encode())
    return digest.hexdigest()


@lru_cache(maxsize=4096)  # a sweep plans many studies on the same data
def _hash_as_of(file: Path, _size: int, _modified: int, _changed: int) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
