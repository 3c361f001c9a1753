"""What an artifact is: a folder with a manifest that names every file and its SHA-256."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from specs_lab.core.errors import Fault, UserError

MANIFEST = "manifest.json"
"""Written last: a folder that has one is complete."""


class DamagedArtifact(UserError):
    """An artifact that is not as it was made.

    Attributes:
        folder: Where it is.
    """

    def __init__(self, folder: Path, faults: list[Fault]) -> None:
        super().__init__(faults)
        self.folder = folder


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of an artifact.

    Raises:
        OSError: If there is none.
        ValueError: If it is no JSON.
    """
    return json.loads((folder / MANIFEST).read_text(encoding="utf-8"))


def file_hashes(folder: Path) -> dict[str, str]:
    """{relative path: SHA-256 in hex} of the files below a folder; hidden ones, such as download caches, left out."""
    hashes = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        if path.is_file() and not any(part.startswith(".") for part in name.parts):
            hashes[name.as_posix()] = file_hash(path)
    return hashes


def file_hash(path: Path) -> str:
    """The SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def verify(folder: Path) -> None:
    """Checks that an artifact is, byte for byte, what was made.

    Raises:
        DamagedArtifact: If a file is missing or has changed, or the manifest cannot be read.
    """
    fix = f"delete the folder {folder}; it is then made anew"
    try:
        recorded = read_manifest(folder)["files"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        fault = Fault(str(folder), "is gone, or has no manifest that can be read", fix)
        raise DamagedArtifact(folder, [fault]) from error
    faults = [
        Fault(str(folder / name), "is not as it was made (another SHA-256 than in the manifest)", fix)
        for name in _changed(folder, recorded)
    ]
    if faults:
        raise DamagedArtifact(folder, faults)


def damage_of(folder: Path) -> str | None:
    """What of the files that an artifact's manifest names is not as it was made, or None."""
    try:
        recorded = read_manifest(folder)["files"]
    except FileNotFoundError:
        return "has just been moved away"  # by another process that found it damaged
    changed = _changed(folder, recorded)
    return f"is damaged: {changed[0]} has another SHA-256 than when it was made" if changed else None


def _changed(folder: Path, recorded: Mapping[str, str]) -> list[str]:
    return [name for name, digest in recorded.items() if _hash_of(folder / name) != digest]


def _hash_of(path: Path) -> str | None:
    """The SHA-256 of a file, in hex; None if it is gone, perhaps just now: another process may move it away."""
    try:
        return file_hash(path)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return None


def flaw_of(folder: Path, kind: str, key: str) -> str | None:
    """Why a folder is not the artifact it should be, or None if it is; files are looked for but not read."""
    try:
        manifest = read_manifest(folder)
    except OSError:
        return "has no readable manifest"
    except ValueError:
        return "has a manifest that is no JSON"
    if not isinstance(manifest, dict) or (manifest.get("kind"), manifest.get("key")) != (kind, key):
        return "has the manifest of something else"
    if not isinstance(manifest.get("files"), dict):
        return "has a manifest that names no files"
    missing = [name for name in manifest["files"] if not (folder / name).is_file()]
    return f"lacks {missing[0]}" if missing else None
