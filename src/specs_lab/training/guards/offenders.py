"""Finds the samples behind a loss or gradient that is not finite, by doing their passes again one by one."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor

from specs_lab.models.prompts import Row, row_tokens

T = TypeVar("T")
Finding = dict[str, Any]
"""A line of the file of samples at fault; see :mod:`specs_lab.training.guards.policy`."""


class Trail(Iterator[Sequence[T]]):
    """The micro-batches of an update as they are worked on, and their losses; nothing is waited for.

    Attributes:
        parts: Those that were begun; the last one is in work.
        losses: Of those that are done, scalars.
    """

    def __init__(self, parts: Iterable[Sequence[T]]) -> None:
        self._rest = iter(parts)
        self.parts: list[Sequence[T]] = []
        self.losses: list[Tensor] = []

    def __next__(self) -> Sequence[T]:
        part = next(self._rest)
        self.parts.append(part)
        return part

    def done(self) -> list[tuple[Sequence[T], float]]:
        """Those that are done, with their losses; waits for these."""
        return [(part, float(loss)) for part, loss in zip(self.parts, self.losses, strict=False)]


def sample_id(rows: Sequence[Row]) -> str:
    """What a sample is called: the id of its pair, or of its problem."""
    return rows[0].prompt.key


def finding(rows: Sequence[Row], what: str, loss: float, *, again: bool) -> Finding:
    """A sample at fault; see the top of this module."""
    return {"id": sample_id(rows), "what": what, "loss": text_of(loss), "tokens": row_tokens(rows), "again": again}


def text_of(value: float) -> float | str:
    """A number as JSON has it: those that are not finite are texts."""
    return value if math.isfinite(value) else str(value)


def find_offenders(
    samples: Sequence[Sequence[Row]],
    losses: Iterable[Tensor] | None,
    gradients: Callable[[], Iterable[Tensor]],
    trail: Sequence[tuple[Sequence[Sequence[Row]], float]],
) -> list[Finding]:
    """Finds the samples whose loss or gradient is not finite.

    Args:
        samples: The rows of each of this rank's samples.
        losses: Each one's share of the loss, made with its gradient when asked for; None if that cannot be done.
        gradients: The gradient of the loss that was asked for last.
        trail: The micro-batches as they were, with their losses.

    Returns:
        The samples at fault; if none shows when done again, those of micro-batches whose loss was not finite; if there
        is none either, all of them.
    """
    found: list[Finding] = []
    for rows, loss in zip(samples, losses, strict=True) if losses is not None else ():
        value = float(loss)
        if not math.isfinite(value):
            found.append(finding(rows, "loss", value, again=True))
        elif not all_finite(gradients()):
            found.append(finding(rows, "gradient", value, again=True))
    if found:
        return found
    broken = [(part, loss) for part, loss in trail if not math.isfinite(loss)]
    what = "loss" if broken else "sum"
    return [finding(rows, what, loss, again=False) for part, loss in broken or trail for rows in part]


def all_finite(tensors: Iterable[Tensor]) -> bool:
    """Whether all numbers are finite; waits for each tensor."""
    return all(bool(torch.isfinite(tensor).all()) for tensor in tensors)
