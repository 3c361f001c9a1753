"""What ranks of a distributed run exchange: their share of the work, sums, gradients. With one process, nothing.

Gradients are summed once an optimizer step, after all micro-batches, instead of by DDP's hooks after each backward
pass: ranks may then have different numbers of micro-batches, or none, and counts over the whole step normalise losses.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

T = TypeVar("T")
K = TypeVar("K", bound=str)

_BUCKET_BYTES = 256 << 20


def world_size() -> int:
    """Number of processes that train together."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """This process's number among them."""
    return dist.get_rank() if world_size() > 1 else 0


def my_share(items: Sequence[T]) -> Sequence[T]:
    """Every so-manieth item, starting at this rank's number."""
    return items[rank() :: world_size()]


def summed(values: Mapping[K, float], device: torch.device) -> dict[K, float]:
    """Sums over ranks, in float64; every rank must know the same names."""
    if world_size() == 1:
        return dict(values)
    names = sorted(values)
    total = torch.tensor([values[name] for name in names], dtype=torch.float64, device=device)
    dist.all_reduce(total)
    return dict(zip(names, total.tolist(), strict=True))


def gathered(values: Tensor, items: int) -> Tensor:
    """Rows of all ranks in the order of the items that :func:`my_share` dealt out.

    Args:
        values: (own items, ...) float, one row for each item of this rank.
        items: Items of all ranks together.
    """
    ranks = world_size()
    if ranks == 1:
        return values
    # Each rank writes its own rows into a field of zeros: shares need not be equally long.
    whole = values.new_zeros(items, *values.shape[1:])
    whole[rank() :: ranks] = values
    dist.all_reduce(whole)
    return whole


def sum_gradients(parameters: Iterable[torch.nn.Parameter]) -> None:
    """Sums gradients over ranks; a parameter without gradient on every rank keeps none."""
    if world_size() == 1:
        return
    parameters = list(parameters)
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
