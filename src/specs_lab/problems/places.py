"""Local tables lie where they seem to, and are what their names say: cards and links of datasets can lead anywhere."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from specs_lab.core.errors import Fault, raise_faults

_PACKED = {
    b"\x1f\x8b": "gzip",
    b"PK\x03\x04": "zip",
    b"\xfd7zXZ\x00": "xz",
    b"BZh": "bzip2",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"\x04\x22\x4d\x18": "lz4",
    b"7z\xbc\xaf\x27\x1c": "7z",
    b"Rar!": "rar",
}
"""How packed files begin; the `datasets` library would unpack them, whatever they are called and however large."""
_TAR_AT, _TAR = 257, b"ustar"


def check_tables(name: str, folder: Path, files: Iterable[str]) -> None:
    """Checks the files of a local table, or of the cache's copy of one.

    Args:
        name: What people know the table by.
        folder: Its folder.
        files: Its files.

    Raises:
        UserError: If one is not in the folder, by its name or by a link, or is packed.
    """
    roots = [folder.resolve()]
    if folder.resolve().parent.name == "snapshots":  # the cache of the hub, whose snapshots are links
        roots.append(folder.resolve().parents[1] / "blobs")
    faults: list[Fault] = []
    for file in files:
        path = Path(file)
        if "://" in file or not any(path.resolve().is_relative_to(root) for root in roots):
            fix = "put the file itself there, or name it by `path`"
            faults.append(Fault(name, f"'{file}' is not in the folder of the dataset", fix))
        elif path.is_file() and (kind := _packing(path)):
            faults.append(Fault(name, f"'{file}' is a packed file ({kind})", "unpack it"))
    raise_faults(faults)


def _packing(path: Path) -> str | None:
    with path.open("rb") as file:
        head = file.read(_TAR_AT + len(_TAR))
    if head[_TAR_AT:] == _TAR:
        return "tar"
    return next((kind for start, kind in _PACKED.items() if head.startswith(start)), None)
