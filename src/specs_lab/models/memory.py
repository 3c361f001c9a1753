"""When memory runs out: how to know it, what to let go of, and doing the same again in smaller pieces.

Results do not depend on how work is cut up, but for rounding. So what did not fit is done again, not given up.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch

from specs_lab.models.vlm import VLM

R = TypeVar("R")
T = TypeVar("T")

_SIGNS = (
    "DefaultCPUAllocator: can't allocate memory",
    "DefaultCPUAllocator: not enough memory",
    "std::bad_alloc",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
    "CUDA error: out of memory",
)
"""What libraries say whose errors have no type of their own."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error means that memory ran out, on whatever device."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in _SIGNS)


@dataclass(frozen=True)
class NoRoom:
    """Memory ran out.

    Attributes:
        why: What was said.
    """

    why: str


def attempt(work: Callable[[], R]) -> R | NoRoom:
    """Does something that may run out of memory; other errors go on.

    The error itself is gone when this returns: its frames would keep alive what is to be freed.
    """
    try:
        return work()
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        return NoRoom(str(error).strip().partition("\n")[0] or type(error).__name__)


def let_go(vlm: VLM) -> None:
    """Frees what nobody needs any more, and what can be made again."""
    vlm.features.clear()
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def in_parts(vlm: VLM, items: Sequence[T], work: Callable[[Sequence[T]], R]) -> Iterator[tuple[Sequence[T], R]]:
    """Does something with all items at once; if memory runs out with half of them at a time, and so on.

    Yields:
        Consecutive items, and what came of them.

    Raises:
        MemoryError: If a single item does not fit, or processes hold the model in shares, so that none of them can try
            again by itself; says what was said.
    """
    result = attempt(lambda: work(items))
    if not isinstance(result, NoRoom):
        yield items, result
        return
    if len(items) == 1 or vlm.shards is not None:
        raise MemoryError(result.why)
    let_go(vlm)
    for half in (items[: len(items) // 2], items[len(items) // 2 :]):
        yield from in_parts(vlm, half, work)


def random_state(device: torch.device) -> dict[str, Any]:
    """The state of torch's generators; see :func:`restore_random_state`."""
    state = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(device)
    return state


def restore_random_state(state: dict[str, Any], device: torch.device) -> None:
    """Sets torch's generators back, so that what is done again draws the same numbers, such as dropout's."""
    torch.set_rng_state(state["cpu"])
    if "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"], device)
