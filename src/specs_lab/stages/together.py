"""Several ranks go through one study: the first one looks things up, holds leases and writes; some stages all make.

What a training makes on other ranks than the first goes into folders that are thrown away.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from specs_lab.stages.store import WORK, DamagedArtifact, Store
from specs_lab.training.distributed import alone, meet, rank, when_first_says, world_size

TOGETHER = frozenset({"rl", "coldstart"})
"""Kinds that all ranks make; the others are made by the first one, while the rest wait."""


class SharedStore(Store):
    """The store as several ranks see it, which all ask for the same artifacts in the same order."""

    def make(
        self,
        kind: str,
        key: str,
        build: Callable[[Path], None],
        manifest: Mapping[str, Any],
        *,
        check: bool = False,
    ) -> tuple[Path, bool]:
        """As :meth:`Store.make`; the answer is the same on all ranks.

        Raises:
            DamagedArtifact: On all ranks alike.
        """
        if world_size() == 1:  # also where the first rank works alone
            return super().make(kind, key, build, manifest, check=check)
        what = f"{manifest.get('name', kind)} ({kind}/{key})"
        if rank() == 0:
            return self._lead(kind, key, build, manifest, what, check=check)
        return _follow(build, what)

    def _lead(
        self,
        kind: str,
        key: str,
        build: Callable[[Path], None],
        manifest: Mapping[str, Any],
        what: str,
        *,
        check: bool,
    ) -> tuple[Path, bool]:
        def build_here(folder: Path) -> None:
            if kind not in TOGETHER:
                with alone():
                    build(folder)
                return
            when_first_says(("build", None))
            build(folder)
            meet(f"the end of {what}")

        try:
            folder, made = super().make(kind, key, build_here, manifest, check=check)
        except DamagedArtifact as damage:
            when_first_says(("damaged", (damage.folder, list(damage.faults))))
            raise
        when_first_says(("done", (folder, made)))
        return folder, made


def _follow(build: Callable[[Path], None], what: str) -> tuple[Path, bool]:
    """Does what the first rank says until the artifact is there."""
    while True:
        order: Any = when_first_says(None)
        said, about = order
        if said == "done":
            return about
        if said == "damaged":
            raise DamagedArtifact(*about)
        with tempfile.TemporaryDirectory(prefix="specs-lab-rank-") as folder:
            (Path(folder) / WORK).mkdir()
            try:
                build(Path(folder))
            except DamagedArtifact:
                continue  # so it is for the first rank, which says so
            meet(f"the end of {what}")
