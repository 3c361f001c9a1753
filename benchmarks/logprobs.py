"""Log-probabilities from hidden states, four ways: ``python -m benchmarks.logprobs``. Writes JSON.

Forward and backward pass from hidden states and the output layer's weight to their gradients, each way in turn. On a
GPU, ``cut_cross_entropy`` takes part if it is installed: whoever has one sees whether its kernel wins.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.duel import ROOT
from benchmarks.results import machine, spread, write
from benchmarks.tables import table
from specs_lab.objectives.logprobs import token_statistics

Way = Callable[[Tensor, Tensor, Tensor], Tensor]


def all_at_once(hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
    """Keeps all logits for the backward pass."""
    return -functional.cross_entropy((hidden @ weight.T).float(), targets, reduction="none")


def specs_lab(hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
    """Chunks of positions; logits are made again in the backward pass."""
    return token_statistics(hidden, weight, targets, direct_up_to=0).logprobs


def torch_chunked(hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
    """PyTorch's own chunks (since 2.13)."""
    options = torch.nn.LinearCrossEntropyOptions()  # pyright: ignore[reportAttributeAccessIssue]
    loss = functional.linear_cross_entropy  # pyright: ignore[reportAttributeAccessIssue]
    return -loss(hidden, weight, targets, reduction="none", options=options)


def cut_cross_entropy(hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
    """Apple's kernel (arXiv 2411.09009): logits never leave the chip."""
    from cut_cross_entropy import linear_cross_entropy  # pyright: ignore[reportMissingImports]

    return -linear_cross_entropy(hidden, weight, targets, reduction="none")


def ways(device: str) -> dict[str, Way]:
    """Those that can run here."""
    found: dict[str, Way] = {"all logits": all_at_once, "specs_lab": specs_lab}
    if hasattr(functional, "linear_cross_entropy"):
        found["torch chunked"] = torch_chunked
    if device == "cuda" and find_spec("cut_cross_entropy"):
        found["cut_cross_entropy"] = cut_cross_entropy
    return found


def step(way: Way, inputs: tuple[Tensor, Tensor, Tensor], upstream: Tensor) -> tuple[float, list[Tensor]]:
    """Seconds of one pass there and back, and what came of it."""
    hidden, weight, targets = inputs
    hidden.grad = weight.grad = None
    synchronise = torch.cuda.synchronize if hidden.is_cuda else lambda: None
    synchronise()
    start = time.perf_counter()
    logprobs = way(hidden, weight, targets)
    logprobs.backward(upstream.to(logprobs.dtype))
    synchronise()
    seconds = time.perf_counter() - start
    assert hidden.grad is not None
    assert weight.grad is not None
    return seconds, [logprobs.detach(), hidden.grad, weight.grad]


def saved(way: Way, inputs: tuple[Tensor, Tensor, Tensor]) -> int:
    """Bytes that a way keeps for its backward pass, its inputs left out."""
    own = {tensor.untyped_storage().data_ptr() for tensor in inputs}
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        way(*inputs)
    return sum(kept.values())


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """All ways, in turn, on the same numbers."""
    torch.set_num_threads(options.threads)
    dtype = torch.bfloat16 if options.device == "cuda" else torch.float32
    torch.manual_seed(0)
    shape = {"dtype": dtype, "device": options.device}
    hidden = torch.randn(options.positions, options.hidden, **shape).requires_grad_()
    weight = (torch.randn(options.vocab, options.hidden, **shape) * options.hidden**-0.5).requires_grad_()
    inputs = (hidden, weight, torch.randint(options.vocab, (options.positions,), device=options.device))
    upstream = torch.randn(options.positions, device=options.device)
    chosen = ways(options.device)
    seconds: dict[str, list[float]] = {name: [] for name in chosen}
    results: dict[str, list[Tensor]] = {}
    for repeat in range(options.warmup + options.steps):
        for name, way in chosen.items():
            print(f"repeat {repeat + 1}: {name}", file=sys.stderr, flush=True)
            taken, results[name] = step(way, inputs, upstream)
            seconds[name] += [taken] * (repeat >= options.warmup)
    exact = results["all logits"]
    return {
        name: {
            "seconds": spread(seconds[name]),
            "saved_mb": saved(way, inputs) / 2**20,
            "differences": [float((a - b).norm() / b.norm()) for a, b in zip(results[name], exact, strict=True)],
        }
        for name, way in chosen.items()
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures, writes, prints the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.logprobs", description=__doc__)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--positions", type=int, default=256, help="completion tokens")
    parser.add_argument("--hidden", type=int, default=256)
    parser.add_argument("--vocab", type=int, default=151_936)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--warmup", type=int, default=1)
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "logprobs.json")
    options = parser.parse_args(arguments)
    settings = {name: value for name, value in vars(options).items() if name != "out"}
    results = {"kind": "logprobs", "machine": machine(options.device), "settings": settings, "ways": measure(options)}
    write(results, options.out)
    print(table(results))
    return 0


if __name__ == "__main__":
    sys.exit(main())
