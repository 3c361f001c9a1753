"""The part of a training module that keeps updates finite and inside memory."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, TypeVar

from lightning import LightningModule
from torch import Tensor

from specs_lab.models.memory import NoRoom, attempt, let_go, random_state, restore_random_state
from specs_lab.models.micro_batches import micro_batches, part_tokens
from specs_lab.models.prompts import Row
from specs_lab.models.vlm import VLM
from specs_lab.objectives.terms import Loss, Unit
from specs_lab.training.guards.offenders import Finding, Trail, all_finite, find_offenders, finding
from specs_lab.training.guards.policy import Guard, no_retry

R = TypeVar("R")
T = TypeVar("T")


class Guarded(LightningModule):
    """A module whose updates are guarded.

    Args:
        vlm: The policy.
        micro_batch_tokens: Most tokens in one forward pass.

    Attributes:
        micro_batch_tokens: The same; less once memory has run out.
        guard: What is done about faults; by default training stops at the first number that is not finite.
        trail: The micro-batches that are being worked on.
        updates: Updates made.
        steps: Steps done.
    """

    updates: int
    steps: int

    def __init__(self, vlm: VLM, micro_batch_tokens: int) -> None:
        super().__init__()
        self.vlm = vlm
        self.micro_batch_tokens = self._asked_tokens = micro_batch_tokens
        self.guard = Guard()
        self.trail: Trail[Any] = Trail(())

    @abstractmethod
    def gradients_stay_here(self) -> AbstractContextManager[None]:
        """Inside, gradients are not exchanged between ranks."""

    def faults(self) -> dict[str, float]:
        """Metrics of what went wrong so far, none if nothing did.

        Returns:
            ``skipped_updates``, the number so far; ``micro_batch_tokens``, if it is not what was asked for.
        """
        found: dict[str, float] = {}
        if self.guard.skipped:
            found["skipped_updates"] = float(self.guard.skipped)
        if self.micro_batch_tokens != self._asked_tokens:
            found["micro_batch_tokens"] = float(self.micro_batch_tokens)
        return found

    def guard_state(self) -> dict[str, Any]:
        """What of this a checkpoint has to hold, as plain values."""
        return {**self.guard.state(), "tokens": self.micro_batch_tokens, "asked": self._asked_tokens}

    def load_guard_state(self, state: Mapping[str, Any]) -> None:
        """Restores :meth:`guard_state`, but for a budget that was asked for anew; ``updates`` are restored before."""
        self.guard.load(state, self.updates)
        if state["asked"] == self._asked_tokens:
            self.micro_batch_tokens = state["tokens"]

    def on_train_start(self) -> None:
        """Lightning's hook, after a checkpoint was loaded if there is one."""
        if not self.steps:
            self.guard.begin()

    def on_train_end(self) -> None:
        """Lightning's hook: a model whose last update broke it is no result.

        Raises:
            UserError: If a weight that was trained is not finite.
        """
        self.guard.require_finite((name, p) for name, p in self.named_parameters() if p.requires_grad)

    # -- memory ------------------------------------------------------------------------------------------------------

    def micro_batches(self, items: Sequence[T], rows: Callable[[T], Sequence[Row]]) -> Trail[T]:
        """The items in parts that fit into memory; the part in work is known from here on.

        Args:
            items: What to cut up.
            rows: The rows of an item.
        """
        self.trail = Trail(micro_batches(items, rows, self.micro_batch_tokens, shared=self.vlm.shares_prompts))
        return self.trail

    def within_memory(self, work: Callable[[], R], rows: Callable[[Any], Sequence[Row]]) -> R:
        """Does what goes through :meth:`micro_batches`; from the start, in smaller ones, if memory runs out.

        Args:
            work: What to do; gradients that it has left behind are dropped before it is done again.
            rows: The rows of an item.

        Raises:
            UserError: If it cannot be done in smaller ones.
        """
        before = random_state(self.vlm.device)
        while True:
            result = attempt(work)
            if not isinstance(result, NoRoom):
                return result
            if not self.trail.parts:
                raise MemoryError(result.why)
            if self.vlm.shards is not None:
                raise no_retry(self.guard.name, result.why)
            part = [rows(item) for item in self.trail.parts[-1]]
            size = part_tokens([row for some in part for row in some], shared=self.vlm.shares_prompts)
            self.trail = Trail(())
            self.zero_grad(set_to_none=True)
            let_go(self.vlm)
            self.micro_batch_tokens = self.guard.halve(self.micro_batch_tokens, part, size, result.why)
            restore_random_state(before, self.vlm.device)

    # -- numbers that are not finite ---------------------------------------------------------------------------------

    def leave_out(
        self,
        items: Sequence[T],
        rows: Callable[[T], Sequence[Row]],
        counts: Mapping[Unit, float],
        objective: Callable[[Sequence[T]], Loss],
        seen: tuple[float, float],
    ) -> None:
        """Says what is behind an update that is not finite, and leaves no trace of it; called by all ranks.

        Args:
            items: As for an update.
            rows: As for an update.
            counts: As for an update.
            objective: As for an update.
            seen: The loss and the gradient's norm, of all ranks.

        Raises:
            UserError: As :meth:`Guard.leave_out`.
        """
        loss, norm = seen
        what = f"the loss is {loss:g}, the norm of its gradient {norm:g}"
        trail = [([rows(item) for item in part], float(value)) for part, value in self.trail.done()]
        if norm == float("inf") and self.vlm.shards is None and all_finite(self._gradients()):
            what += " (no number in the gradient is infinite, but their squares are)"
            found = [finding(rows, "norm", value, again=True) for part, value in trail for rows in part]
        else:
            found = self._offenders(items, rows, counts, objective, trail)
        self.zero_grad(set_to_none=True)
        self.trail = Trail(())
        self.guard.leave_out(found, what, self.steps + 1, self.updates, len(items))

    def _offenders(
        self,
        items: Sequence[T],
        rows: Callable[[T], Sequence[Row]],
        counts: Mapping[Unit, float],
        objective: Callable[[Sequence[T]], Loss],
        trail: Sequence[tuple[Sequence[Sequence[Row]], float]],
    ) -> list[Finding]:
        """This rank's samples at fault."""

        def losses() -> Iterator[Tensor]:
            for item in items:
                self.zero_grad(set_to_none=True)
                value = objective([item]).normalised(counts)
                self.manual_backward(value)
                yield value.detach()

        before = random_state(self.vlm.device)
        samples = [rows(item) for item in items]
        # Ranks that share a model would have to do the same number of passes together.
        again = losses() if self.vlm.shards is None else None
        with self.gradients_stay_here():
            found = find_offenders(samples, again, self._gradients, trail)
        restore_random_state(before, self.vlm.device)
        return found

    def _gradients(self) -> Iterator[Tensor]:
        return (p.grad for p in self.parameters() if p.grad is not None)
