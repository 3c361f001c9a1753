"""The policy: what is written down, when a training stops and when it goes on.

An update whose loss or gradient is not finite is never made: the training stops, or leaves that update out. The samples
behind it are written down:

    {"step": 3, "update": 3, "rank": 0, "id": "count-17", "what": "gradient", "loss": 0.2, "tokens": 211, "again": true}

``update`` counts those left out too; ``loss`` is the sample's share of the update's, a text where it is not finite;
``what`` says where it showed: ``loss``, ``gradient``, ``sum`` (in the sum of the samples' gradients, in none alone),
``norm`` (the gradient is finite, the squares in its norm are not), ``reward`` or ``sampling`` (the log-probabilities of
a response). ``again`` is false where it did not come when the samples' passes were done again one by one, or could not
be, as when processes share a model: then all samples of a micro-batch are named, and the loss is the micro-batch's.

Decisions rest on sums over ranks, so that all ranks take the same one; the first rank writes.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from specs_lab.core.errors import Fault, UserError
from specs_lab.models.prompts import Row, row_tokens
from specs_lab.training.distributed import from_all, rank
from specs_lab.training.guards.offenders import Finding, sample_id

NON_FINITE = "non_finite.jsonl"
"""File that samples at fault are written to."""
_NAMED = 8
"""Most samples that a message names; the file has all."""
_FIX = "lower the learning rate, raise its warmup_steps, or look at these samples"
_SMALLER = (
    "lower the pixels of pictures (model.max_pixels) or leave out long samples, set "
    "trainer.gradient_checkpointing=true, or choose an adapter, which needs less memory than adapter=full"
)


@dataclass
class Guard:
    """The policy of one training, and what it has come to so far.

    Attributes:
        on_nan: ``stop``, or ``skip`` updates that are not finite.
        nan_skips: Most updates in a row that are skipped.
        oom_halvings: How often a budget may be halved.
        name: What messages call the training.
        files: Where offending samples are written; the first is what a resumed training goes on from, the last is the
            one that messages name.
        tell: Told of updates that are left out and of budgets that are halved.
        skipped: Updates left out so far.
        in_a_row: How many of them since the last that was made.
        halvings: How often the budget of tokens was halved.
    """

    on_nan: str = "stop"
    nan_skips: int = 3
    oom_halvings: int = 4
    name: str = "training"
    files: Sequence[Path] = ()
    tell: Callable[[str], None] = lambda _: None
    skipped: int = field(default=0, init=False)
    in_a_row: int = field(default=0, init=False)
    halvings: int = field(default=0, init=False)

    def state(self) -> dict[str, int]:
        """What a resumed training has to know, as plain values."""
        return {"skipped": self.skipped, "in_a_row": self.in_a_row, "halvings": self.halvings}

    def load(self, state: Mapping[str, int], updates: int) -> None:
        """Restores :meth:`state` after so many updates; what was written after them is dropped."""
        self.skipped, self.in_a_row, self.halvings = state["skipped"], state["in_a_row"], state["halvings"]
        if self.files and self.files[0].exists() and rank() == 0:
            self._write(self._earlier(updates + self.skipped + 1))

    def begin(self) -> None:
        """To be called when a training starts from nothing: drops what an earlier one, now given up, has written."""
        if rank() == 0:
            self._write([])

    # -- numbers that are not finite ---------------------------------------------------------------------------------

    def made(self) -> None:
        """Notes that an update was made."""
        self.in_a_row = 0

    def leave_out(self, found: Sequence[Finding], what: str, step: int, updates: int, samples: int) -> None:
        """Writes down what is not finite, then stops or lets an update be left out; called by all ranks.

        Args:
            found: This rank's samples at fault: all but ``step``, ``update`` and ``rank``.
            what: What was seen, such as ``the loss is nan``.
            step: Number of the step, from 1.
            updates: Updates made so far.
            samples: How many samples this rank has.

        Raises:
            UserError: If such updates are not skipped, or too many were skipped in a row.
        """
        number = updates + self.skipped + 1
        own = [{"step": step, "update": number, "rank": rank(), **finding} for finding in found]
        gathered = from_all((own, samples))
        lines = [line for part, _ in gathered for line in part]
        # A rank that found nothing in its own samples names them all; what another is sure of counts.
        lines = [line for line in lines if line["what"] != "sum"] or lines
        if rank() == 0:
            self._write([*self._earlier(number), *map(json.dumps, lines)])
        where = f"{self.name}, step {step}"
        told = f"{what}; {_named(lines, sum(count for _, count in gathered))}"
        if self.files:
            told += f"; they are written down in {self.files[-1]}"
        if self.on_nan == "stop":
            raise UserError([Fault(where, told, f"{_FIX}; trainer.on_nan=skip leaves such updates out")])
        if self.in_a_row >= self.nan_skips:
            limit = f"{told}; {self.in_a_row} in a row have been left out already (trainer.nan_skips={self.nan_skips})"
            raise UserError([Fault(where, limit, _FIX)])
        self.skipped += 1
        self.in_a_row += 1
        self.tell(f"{where}: the update is left out: {told}")

    def require_finite(self, weights: Iterable[tuple[str, Tensor]]) -> None:
        """Checks what was learnt, at the end: the last update has no later one that would show it.

        Raises:
            UserError: If a weight is not finite.
        """
        wrong = [name for name, weight in weights if not bool(torch.isfinite(weight.detach()).all())]
        if wrong:
            what = f"{len(wrong)} trained weights are not finite, the first is {wrong[0]}"
            raise UserError([Fault(self.name, what, _FIX)])

    def _earlier(self, update: int) -> list[str]:
        """The lines about updates before one; a training that was resumed may have written of later ones."""
        if not self.files or not self.files[0].exists():
            return []
        lines = self.files[0].read_text(encoding="utf-8").splitlines()
        return [line for line in lines if json.loads(line)["update"] < update]

    def _write(self, lines: Sequence[str]) -> None:
        """Puts lines in place of what the files have, each at once; without lines there is no file."""
        for path in self.files:
            if not lines:
                path.unlink(missing_ok=True)
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            draft = path.with_name(f".{path.name}.{os.getpid()}")
            with draft.open("w", encoding="utf-8") as file:
                file.write("".join(f"{line}\n" for line in lines))
                file.flush()
                os.fsync(file.fileno())
            os.replace(draft, path)

    # -- memory ------------------------------------------------------------------------------------------------------

    def halve(self, tokens: int, part: Sequence[Sequence[Row]], size: int, why: str) -> int:
        """The budget of tokens to try again with, after a micro-batch did not fit.

        Args:
            tokens: The budget so far.
            part: The rows of each item of the micro-batch.
            size: Its tokens, padding included; it may be far smaller than the budget.
            why: What was said.

        Raises:
            UserError: If the micro-batch has one item only, or budgets were halved too often.
        """
        where = f"{self.name}, process {rank()}"
        largest = max(part, key=row_tokens)
        if len(part) == 1:
            what = f"memory does not do for sample {sample_id(largest)} alone, of {row_tokens(largest)} tokens: {why}"
            raise UserError([Fault(where, what, _SMALLER)])
        if self.halvings >= self.oom_halvings:
            what = f"memory ran out with trainer.micro_batch_tokens halved {self.halvings} times, to {tokens}: {why}"
            raise UserError([Fault(where, what, f"raise trainer.oom_halvings, or {_SMALLER}")])
        self.halvings += 1
        smaller = max(min(tokens, size) // 2, row_tokens(largest))
        self.tell(f"{where}: memory ran out; trainer.micro_batch_tokens is {smaller} from here on, it was {tokens}")
        return smaller


def no_retry(name: str, why: str) -> UserError:
    """What is raised where memory ran out in a process that cannot go on by itself."""
    what = f"memory ran out; processes that share a model cannot try again one by one: {why}"
    return UserError([Fault(f"{name}, process {rank()}", what, f"lower trainer.micro_batch_tokens, or {_SMALLER}")])


def _named(lines: Sequence[Finding], samples: int) -> str:
    """Which samples are at fault, for a message."""
    ids = list(dict.fromkeys(line["id"] for line in lines))
    more = f" and {len(ids) - _NAMED} more" if len(ids) > _NAMED else ""
    names = f"samples: {', '.join(ids[:_NAMED])}{more}"
    if not any(line["again"] for line in lines):
        return f"{names}, of which none shows it again alone"
    if len(lines) == samples > 1:
        return f"{names}, which are all of this update: more likely the weights are to blame than the data"
    return names
