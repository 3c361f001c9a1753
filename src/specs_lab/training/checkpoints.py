"""Checkpoints of a training that was interrupted: written whole or not at all, found again only if undamaged.

In the folder ``step-00000120`` are ``state.ckpt`` (what Lightning saves: plain data, loadable with ``weights_only``),
results so far, such as ``rows.csv``, and ``checksums.json`` with the SHA-256 of each. One in the making is in
``.step-00000120``; it gets its name when all of it is on disk.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightning import Callback, LightningModule, Trainer

from specs_lab.core.stopping import EXIT_TERMINATED, asked_to_stop, listen_again
from specs_lab.training.distributed import from_all, from_first, rank, when_first_says

STATE = "state.ckpt"
_CHECKSUMS = "checksums.json"
_SHARE = 0.05
"""Most of the time that checkpoints may take, however often they are asked for."""


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint on disk.

    Attributes:
        step: Steps taken.
        folder: Where it is.
    """

    step: int
    folder: Path

    @property
    def state(self) -> Path:
        """The file of weights, optimizer and the like."""
        return self.folder / STATE


class Checkpoints:
    """The latest checkpoints of one training.

    Args:
        folder: Where they are; made with the first.
        kept: How many stay.
        tell: Told about checkpoints that are damaged.
    """

    def __init__(self, folder: Path, kept: int, tell: Callable[[str], None] = lambda _: None) -> None:
        self._folder, self._kept, self._tell = folder, kept, tell

    def newest(self) -> Checkpoint | None:
        """The newest one that is undamaged, or None; others are told of and left alone."""
        for one in reversed(self._all()):
            flaw = _flaw(one.folder)
            if flaw is None:
                return one
            self._tell(f"the checkpoint of step {one.step} {flaw}; it is not used ({one.folder})")
        return None

    def write(self, step: int, save: Callable[[Path], None], files: Mapping[str, Path]) -> None:
        """Writes a checkpoint, then removes those that are too many; all ranks call it, one of them writes.

        Args:
            step: Steps taken.
            save: Writes the state to the path that it is given; called on every rank.
            files: Further files to keep, by name.
        """
        draft = self._folder / f".{_name(step)}"
        if rank() == 0:
            shutil.rmtree(draft, ignore_errors=True)
            self._folder.mkdir(exist_ok=True)  # not its parents: who was overtaken finds them gone, and ends here
            draft.mkdir()
        draft = from_first(draft)  # the others have none of their own, and go on when it is there
        save(draft / STATE)
        if rank() == 0:
            self._publish(draft, files)
        when_first_says(None)  # a rank that ended sooner, because it was asked to stop, would take the writer along

    def _publish(self, draft: Path, files: Mapping[str, Path]) -> None:
        """Adds files and checksums to a draft whose state is there, and gives it its name."""
        final = draft.with_name(draft.name.removeprefix("."))
        for name, path in files.items():
            shutil.copyfile(path, draft / name)
        checksums = {path.name: _digest_on_disk(path) for path in sorted(draft.iterdir())}
        (draft / _CHECKSUMS).write_text(json.dumps(checksums), encoding="utf-8")
        _digest_on_disk(draft / _CHECKSUMS)
        if final.exists():  # a damaged one of the same step
            shutil.rmtree(final)
        os.replace(draft, final)
        _sync(self._folder)
        for old in self._all()[: -self._kept]:
            shutil.rmtree(old.folder)

    def _all(self) -> list[Checkpoint]:
        """All that have their name, oldest first."""
        folders = sorted(self._folder.glob("step-*")) if self._folder.is_dir() else []
        return [Checkpoint(int(path.name.removeprefix("step-")), path) for path in folders]


def _name(step: int) -> str:
    return f"step-{step:08d}"


def _flaw(folder: Path) -> str | None:
    """What is wrong with a checkpoint, or None."""
    try:
        checksums = json.loads((folder / _CHECKSUMS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return "has no readable checksums"
    if not isinstance(checksums, dict) or STATE not in checksums:
        return "has no readable checksums"
    for name, digest in checksums.items():
        path = folder / name
        if not path.is_file():
            return f"lacks {name}"
        with path.open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != digest:
                return f"is damaged: {name} has another SHA-256 than when it was written"
    return None


def _digest_on_disk(path: Path) -> str:
    """The SHA-256 of a file, once it is on disk."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        os.fsync(file.fileno())
    return digest


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class Keeper:
    """Writes checkpoints as time passes, and one before a process that was sent SIGTERM ends.

    Times are those of a clock that only goes forward.

    Args:
        checkpoints: Where to.
        every_s: Least seconds between two; 0: after every step. Writing takes at most a twentieth of the time unless
            this is 0.
        files: Files to keep with them, by name.
    """

    def __init__(self, checkpoints: Checkpoints, every_s: float, files: Mapping[str, Path]) -> None:
        self._checkpoints, self._every_s, self._files = checkpoints, every_s, dict(files)
        self._written, self._took = time.monotonic(), 0.0

    def after(self, step: int, save: Callable[[Path], None]) -> None:
        """To be called after each step, on all ranks.

        Args:
            step: Steps taken.
            save: Writes the state to the path that it is given.

        Raises:
            SystemExit: If a process of the training was asked to stop; the checkpoint is written then.
        """
        asked, due = zip(*from_all((asked_to_stop(), self._is_due())), strict=True)
        stop = any(asked)  # one machine may be taken away alone
        if due[0] or stop:
            start = time.monotonic()
            self._checkpoints.write(step, save, self._files)
            self._written = time.monotonic()
            self._took = self._written - start
        if stop:
            raise SystemExit(EXIT_TERMINATED)

    def _is_due(self) -> bool:
        wait = max(self._every_s, self._took * (1 / _SHARE - 1)) if self._every_s else 0.0
        return time.monotonic() - self._written >= wait


class OwnSignals(Callback):
    """Takes SIGTERM back from Lightning; to be the first callback, as others may evaluate when training starts."""

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Lightning's hook."""
        listen_again()


class CheckpointCallback(Callback):
    """Lets a keeper write Lightning's checkpoints; to be the last callback, so that a step's results are in them."""

    def __init__(self, keeper: Keeper) -> None:
        self._keeper = keeper

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Lightning's hook: after a step."""
        self._keeper.after(batch_idx + 1, trainer.save_checkpoint)
