"""How specs_lab's GRPO step scales: ``python -m benchmarks.scaling``. Writes JSON, and a figure beside it.

From a base point, one factor at a time: completions behind a prompt, their length, the picture, the vocabulary. Two
ways in turn: ``plain``, where every completion has a copy of the prompt to itself, and ``shared``.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import torch

from benchmarks.cases import Case
from benchmarks.data import examples, given_text
from benchmarks.duel import ROOT
from benchmarks.models import SHAPES, checkpoint
from benchmarks.our_side import encode, load, sample
from benchmarks.results import machine, write
from benchmarks.tables import table
from specs_lab.models.vlm import Row


@dataclass(frozen=True)
class Point:
    """What is varied.

    Attributes:
        group: Completions behind the one prompt.
        completion: Tokens of each.
        image: Side of the picture in pixels.
        vocab: Vocabulary of the model.
    """

    group: int = 8
    completion: int = 64
    image: int = 448
    vocab: int = 2048


SWEEPS: dict[str, tuple[int, ...]] = {
    "group": (1, 2, 4, 8, 16),
    "completion": (16, 32, 64, 128, 256),
    "image": (112, 224, 336, 448),
    "vocab": (2048, 8192, 32768, 151936),
}


def points(base: Point, factors: Sequence[str]) -> Iterator[tuple[str, Point]]:
    """Every point of the sweeps, with the factor that is varied."""
    for factor in factors:
        for value in SWEEPS[factor]:
            yield factor, replace(base, **{factor: value})


MODES = ("plain", "shared")


class Bench:
    """One point's model and data, in one mode."""

    def __init__(self, point: Point, mode: str) -> None:
        self.point = point
        folder = checkpoint(replace(SHAPES["mini"], vocab=point.vocab))
        self.vlm = load(str(folder), share_prompts=mode == "shared")
        case = Case(method="grpo", prompts=1, image=point.image, completion=point.completion, group=point.group)
        self.prompt = encode(self.vlm, examples(case, 1)[0])
        texts = [given_text(case, 0, index) for index in range(point.group)]
        self.rows = [Row(self.prompt, ids) for ids in self.vlm.encode_completions(texts, ended=False)]

    def train(self) -> None:
        """A forward and a backward pass over the whole group."""
        self.vlm.model.train()
        self.vlm.zero_grad(set_to_none=True)
        self.vlm.logprobs(self.rows).logprobs.sum().backward()

    def rollout(self) -> None:
        """Samples the group."""
        sample(self.vlm, [self.prompt], self.point.group, self.point.completion)

    def saved_mb(self) -> float:
        """Memory that the forward pass keeps for the backward pass, parameters aside, in MiB."""
        known = {p.untyped_storage().data_ptr() for p in self.vlm.parameters()}
        kept: dict[int, int] = {}

        def note(tensor: torch.Tensor) -> torch.Tensor:
            storage = tensor.untyped_storage()
            if storage.data_ptr() not in known:
                kept[storage.data_ptr()] = storage.nbytes()
            return tensor

        self.vlm.model.train()
        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            # Kept until it is counted: what is freed too early could lend its address to something else.
            scored = self.vlm.logprobs(self.rows)
        total = sum(kept.values())
        del scored
        return total / (1 << 20)


def timed(work: Callable[[], None]) -> float:
    """Its seconds."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def measure(point: Point, repeats: int) -> dict[str, dict[str, Any]]:
    """Medians of a point for each mode; modes take turns, one more round than counted."""
    benches = {mode: Bench(point, mode) for mode in MODES}
    times: dict[str, dict[str, list[float]]] = {mode: {"train_s": [], "rollout_s": []} for mode in MODES}
    for number in range(repeats + 1):
        for mode, bench in benches.items():
            taken = {"train_s": timed(bench.train), "rollout_s": timed(bench.rollout)}
            for name, seconds in taken.items() if number else ():
                times[mode][name].append(seconds)
    return {
        mode: {
            **{name: median(values) for name, values in of_mode.items()},
            "saved_mb": benches[mode].saved_mb(),
            "all": of_mode,
        }
        for mode, of_mode in times.items()
    }


def draw(results: dict[str, Any], path: Path) -> None:
    """A figure: a column for each factor, a row for each quantity, a line for each mode."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    factors = list(dict.fromkeys(point["factor"] for point in results["points"]))
    quantities = {"train_s": "forward + backward (s)", "rollout_s": "rollout (s)", "saved_mb": "saved (MiB)"}
    figure, axes = plt.subplots(
        len(quantities), len(factors), figsize=(3.2 * len(factors), 7.5), squeeze=False, sharex="col"
    )
    for column, factor in enumerate(factors):
        chosen = [point for point in results["points"] if point["factor"] == factor]
        for row, (quantity, label) in enumerate(quantities.items()):
            axis = axes[row][column]
            for mode in chosen[0]["modes"]:
                values = [point["modes"][mode][quantity] for point in chosen]
                axis.plot([point["value"] for point in chosen], values, marker="o", label=mode)
            axis.set_ylim(bottom=0)
            axis.set_xscale("log", base=2)
            axis.set_xticks([point["value"] for point in chosen], [f"{point['value']}" for point in chosen])
            axis.minorticks_off()
            axis.grid(alpha=0.3)
            if not column:
                axis.set_ylabel(label)
        axes[-1][column].set_xlabel({"group": "G", "completion": "L", "image": "picture (px)"}.get(factor, factor))
    axes[0][0].legend(frameon=False)
    base = results["base"]
    figure.suptitle(
        f"One prompt, from G {base['group']}, L {base['completion']}, {base['image']} px, vocabulary {base['vocab']}"
    )
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
    plt.close(figure)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures, writes, draws, prints the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scaling", description=__doc__)
    parser.add_argument("--only", default=",".join(SWEEPS), help="factors, joined by commas (default: all)")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "scaling.json")
    options = parser.parse_args(arguments)
    factors = options.only.split(",")
    if not set(factors) <= set(SWEEPS):
        parser.error(f"--only: factors are {', '.join(SWEEPS)}")
    torch.set_num_threads(options.threads)
    known: dict[Point, dict[str, Any]] = {}  # the base point is on every sweep
    results: dict[str, Any] = {
        "kind": "scaling",
        "machine": machine(),
        "settings": {"threads": options.threads, "repeats": options.repeats},
        "base": asdict(Point()),
        "points": [],
    }
    for factor, point in points(Point(), factors):
        if point not in known:
            print(f"{factor}: {point}", file=sys.stderr, flush=True)
            known[point] = measure(point, options.repeats)
        results["points"].append({"factor": factor, "value": getattr(point, factor), "modes": known[point]})
        write(results, options.out)
    draw(results, options.out.with_suffix(".png"))
    print(table(results))
    return 0


if __name__ == "__main__":
    sys.exit(main())
