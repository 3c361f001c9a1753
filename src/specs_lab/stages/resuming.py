"""A training stage that goes on where an interrupted run of it stopped."""

from __future__ import annotations

import shutil
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any

from lightning import Callback

from specs_lab.core.stopping import stopping_when_asked
from specs_lab.stages.context import StageContext
from specs_lab.training.checkpoints import Checkpoint, CheckpointCallback, Checkpoints, Keeper, OwnSignals
from specs_lab.training.distributed import rank, when_first_says
from specs_lab.training.fit import fit

ROWS = "rows.csv"


class Resuming:
    """Finds where a stage's training stands; to be made before the stage writes anything into its folder.

    The rows that the interrupted run had written by its last checkpoint are put back into the folder.

    Args:
        context: The stage.

    Attributes:
        found: The checkpoint to go on from, or None.
        keeper: Writes further ones, with the rows so far.
    """

    def __init__(self, context: StageContext) -> None:
        trainer, rows = context.options["trainer"], context.folder / ROWS

        self._context = context
        checkpoints = Checkpoints(context.work / "checkpoints", trainer.checkpoints_kept, self._tell)
        self.keeper = Keeper(checkpoints, trainer.checkpoint_every_s, {ROWS: rows})
        # The first rank's work folder is the one that counts; reading all of a large checkpoint takes a while.
        self.found: Checkpoint | None = when_first_says(checkpoints.newest() if rank() == 0 else None)
        if self.found:
            self._tell(f"goes on after step {self.found.step}")
            shutil.copyfile(self.found.folder / ROWS, rows)

    @property
    def step(self) -> int:
        """Steps that are done."""
        return self.found.step if self.found else 0

    def fit(self, *arguments: Any, callbacks: Sequence[Callback], **options: Any) -> None:
        """As :func:`specs_lab.training.fit.fit`, from where the training stands, with checkpoints along the way."""
        resume = self.found.state if self.found else None
        with self.stopping():
            own = [OwnSignals(), *callbacks, CheckpointCallback(self.keeper)]
            fit(*arguments, callbacks=own, resume=resume, **options)

    @contextmanager
    def stopping(self) -> Generator[None]:
        """Within, SIGTERM ends the stage after a step, with a checkpoint."""
        with stopping_when_asked():
            try:
                yield
            except SystemExit:
                self._tell("was asked to stop; the same command goes on from its last checkpoint")
                raise

    def _tell(self, text: str) -> None:
        self._context.progress.message(f"{self._context.name}: {text}")
