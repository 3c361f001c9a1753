"""What ranks of a distributed run exchange: their share of the work, sums, gradients. With one process, nothing.

Gradients are summed once an optimizer step, after all micro-batches, instead of by DDP's hooks after each backward
pass: ranks may then have different numbers of micro-batches, or none, and counts over the whole step normalise losses.

Before ranks exchange anything they *meet*: over a group of their own, so that one that does not come can be named.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.tensor import DTensor

T = TypeVar("T")
K = TypeVar("K", bound=str)

_BUCKET_BYTES = 256 << 20
_PATIENCE = 1.5
"""The first rank, which knows who is missing, gives up first: the others wait so many times as long."""


class RankMissing(RuntimeError):
    """Another rank did not come, or has gone; the message names it."""


class _Crew:
    """What this process knows of the others."""

    alone = 0
    """How many callers work without the others right now."""
    talk: dist.ProcessGroup | None = None
    """On the CPU, whatever models are on."""
    timeout_s = 0.0


def join(talk: dist.ProcessGroup, timeout_s: float) -> None:
    """Lets ranks meet from now on.

    Args:
        talk: A gloo group of all ranks.
        timeout_s: How long they wait for each other.
    """
    _Crew.talk, _Crew.timeout_s = talk, timeout_s


def world_size() -> int:
    """Number of processes that work together; 1 inside :func:`alone`."""
    return dist.get_world_size() if not _Crew.alone and dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """This process's number among them."""
    return dist.get_rank() if world_size() > 1 else 0


@contextmanager
def alone() -> Iterator[None]:
    """Work of this rank that the others have no part in."""
    _Crew.alone += 1
    try:
        yield
    finally:
        _Crew.alone -= 1


def meet(what: str) -> None:
    """Waits until every rank is here.

    Args:
        what: Where, for the message.

    Raises:
        RankMissing: If one does not come in time, or has gone.
    """
    if world_size() == 1 or _Crew.talk is None:
        return
    limit = _Crew.timeout_s * (1 if rank() == 0 else _PATIENCE)
    start = time.monotonic()
    try:
        dist.monitored_barrier(_Crew.talk, timeout=timedelta(seconds=limit), wait_all_ranks=True)
    except RuntimeError as error:
        late = time.monotonic() - start >= 0.9 * limit
        how = f"did not come within {limit:g} s" if late else "has gone"
        raise RankMissing(f"{_missing(str(error))} {how}: the others wait at {what}") from error


def _missing(message: str) -> str:
    """Who is missing, from what the first rank is told; the others learn only that the first one has given up."""
    found = re.search(r"Ranks? ([\d, ]+) failed to pass", message)
    numbers = re.findall(r"\d+", found[1]) if found else ["0"]
    return f"rank{'s' if len(numbers) > 1 else ''} {', '.join(numbers)}"


def my_share(items: Sequence[T]) -> Sequence[T]:
    """Every so-manieth item, starting at this rank's number."""
    return items[rank() :: world_size()]


def summed(values: Mapping[K, float], device: torch.device) -> dict[K, float]:
    """Sums over ranks, in float64; every rank must know the same names."""
    if world_size() == 1:
        return dict(values)
    names = sorted(values)
    meet(f"the sum of {', '.join(names[:3])}")
    total = torch.tensor([values[name] for name in names], dtype=torch.float64, device=device)
    dist.all_reduce(total)
    found = dict(zip(names, total.tolist(), strict=True))
    return {name: found[name] for name in values}


def from_first(value: T) -> T:
    """The first rank's value, on every rank; plain objects only."""
    if world_size() == 1:
        return value
    meet("what the first rank says")
    return when_first_says(value)


def when_first_says(value: T) -> T:
    """As :func:`from_first`, however long the first rank takes: what it makes alone may take hours."""
    if world_size() == 1:
        return value
    box: list[Any] = [value]
    dist.broadcast_object_list(box, group=_Crew.talk)
    return box[0]


def from_all(value: T) -> list[T]:
    """Every rank's value, on all of them; plain objects only."""
    if world_size() == 1:
        return [value]
    meet("what all ranks have")
    box: list[Any] = [None] * world_size()
    dist.all_gather_object(box, value, group=_Crew.talk)
    return box


def dealt_back(shares: Sequence[Sequence[T]]) -> list[T]:
    """The items that :func:`my_share` dealt out, in their order, from every rank's share."""
    items: list[Any] = [None] * sum(map(len, shares))
    for number, share in enumerate(shares):
        items[number :: len(shares)] = share
    return items


def gathered(values: Tensor, items: int) -> Tensor:
    """Rows of all ranks in the order of the items that :func:`my_share` dealt out.

    Args:
        values: (own items, ...) float, one row for each item of this rank.
        items: Items of all ranks together.
    """
    ranks = world_size()
    if ranks == 1:
        return values
    meet("the rewards")
    # Each rank writes its own rows into a field of zeros: shares need not be equally long.
    whole = values.new_zeros(items, *values.shape[1:])
    whole[rank() :: ranks] = values
    dist.all_reduce(whole)
    return whole


def sum_gradients(parameters: Iterable[torch.nn.Parameter]) -> None:
    """Sums gradients over ranks; a parameter without gradient on every rank keeps none.

    Those of sharded parameters are left alone: they are summed when they are sharded.
    """
    parameters = [p for p in parameters if not isinstance(p, DTensor)]
    if world_size() == 1 or not parameters:
        return
    meet("the sum of gradients")
    has_gradient = torch.tensor([p.grad is not None for p in parameters], dtype=torch.int32)
    has_gradient = has_gradient.to(parameters[0].device)
    dist.all_reduce(has_gradient, op=dist.ReduceOp.MAX)
    used = [p for p, used in zip(parameters, has_gradient.tolist(), strict=True) if used]
    for parameter in used:
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
    for bucket in _buckets([p.grad for p in used if p.grad is not None]):
        flat = torch.cat([gradient.flatten() for gradient in bucket])
        dist.all_reduce(flat)
        for gradient, total in zip(bucket, flat.split([g.numel() for g in bucket]), strict=True):
            gradient.copy_(total.view_as(gradient))


def clip_gradients(parameters: Sequence[torch.nn.Parameter], most_norm: float) -> float:
    """Clips gradients by their norm over all parameters, sharded ones included; returns the norm before."""
    gradients = [p.grad for p in parameters if p.grad is not None]
    sharded = [g.to_local() for g in gradients if isinstance(g, DTensor)]
    if not any(isinstance(p, DTensor) for p in parameters):
        return float(torch.nn.utils.clip_grad_norm_(parameters, most_norm))
    whole = [g for g in gradients if not isinstance(g, DTensor)]
    square = _square(sharded, parameters[0].device)
    dist.all_reduce(square)
    norm = (square + _square(whole, square.device)).sqrt()
    scale = (most_norm / (norm + 1e-6)).clamp(max=1.0)  # as PyTorch's own
    for gradient in (*sharded, *whole):
        gradient.mul_(scale)
    return float(norm)


def _square(gradients: Sequence[Tensor], device: torch.device) -> Tensor:
    """The square of the norm of all gradients together."""
    if not gradients:
        return torch.zeros((), device=device)
    return torch.nn.utils.get_total_norm(gradients).square()


def _buckets(gradients: Sequence[Tensor]) -> list[list[Tensor]]:
    """Consecutive gradients of one type, together no larger than a bucket (or alone)."""
    buckets: list[list[Tensor]] = []
    size = 0
    for gradient in gradients:
        added = gradient.numel() * gradient.element_size()
        if buckets and buckets[-1][0].dtype == gradient.dtype and size + added <= _BUCKET_BYTES:
            buckets[-1].append(gradient)
            size += added
        else:
            buckets.append([gradient])
            size = added
    return buckets
