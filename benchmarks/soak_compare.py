"""Whether two stores hold the same: bit by bit, but for what says when and how long."""

from __future__ import annotations

import csv
import hashlib
import json
from pathlib import Path
from typing import Any

_NOT_ARTIFACTS = ("tmp", "locks", "broken")
_WHEN = frozenset(("seconds", "made_at", "attempts", "files"))
"""Of a manifest: differs between runs, or is compared file by file."""
_TIMES = frozenset(("seconds",))
"""Columns of rows.csv."""


def artifacts(store: Path) -> dict[str, Path]:
    """{kind/key: folder} of a store."""
    kinds = [path for path in store.iterdir() if path.is_dir() and path.name not in _NOT_ARTIFACTS]
    return {f"{kind.name}/{folder.name}": folder for kind in kinds for folder in kind.iterdir()}


def files(folder: Path) -> dict[str, Path]:
    """{relative path: file} below a folder, hidden ones too."""
    return {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}


def content(path: Path) -> Any:
    """What is compared of a file."""
    if path.name == "manifest.json":
        manifest = json.loads(path.read_text(encoding="utf-8"))
        return {name: value for name, value in manifest.items() if name not in _WHEN}
    if path.name == "rows.csv":
        with path.open(newline="", encoding="utf-8") as file:
            return [{name: value for name, value in row.items() if name not in _TIMES} for row in csv.DictReader(file)]
    return hashlib.sha256(path.read_bytes()).hexdigest()


def differences(store: Path, reference: Path) -> list[str]:
    """What of a store is not as in the reference, by name; empty if all is."""
    found, wanted = artifacts(store), artifacts(reference)
    faults = [
        f"{name}: {'is missing' if name in wanted else 'is new'}" for name in sorted(found.keys() ^ wanted.keys())
    ]
    for name in sorted(found.keys() & wanted.keys()):
        here, there = files(found[name]), files(wanted[name])
        faults += [f"{name}/{file}: only in one" for file in sorted(here.keys() ^ there.keys())]
        shared = sorted(here.keys() & there.keys())
        faults += [f"{name}/{file}: differs" for file in shared if content(here[file]) != content(there[file])]
    return faults


def leftovers(store: Path, reference: Path) -> list[str]:
    """What an interrupted run has left: drafts, what was moved aside, and locks beyond those of any run.

    A process that is killed after its artifact got its place, and before it gave its lease back, leaves the lease: a
    few hundred bytes that nobody will wait for. That is no fault.
    """
    faults = [f"{path.relative_to(store)} is left" for name in ("tmp", "broken") for path in _below(store / name)]
    done = {name.rpartition("/")[2] for name in artifacts(store)}
    more = {path.name for path in _below(store / "locks")} - {path.name for path in _below(reference / "locks")}
    return faults + [f"locks/{name} is left" for name in sorted(more) if name.partition(".")[0] not in done]


def _below(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []
