"""How fast pairs are made: ``python -m benchmarks.constructions``.

512 pairs of the shipped small base model with itself, as the stage `construct` makes them (64 prompts sampled
together), and some of them prompt by prompt, in turn. The base model plays both models: how fast pairs are made hardly
depends on which model writes the chosen sides, and a zero model would have to be trained first.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.duel import ROOT
from benchmarks.results import machine, spread, write
from specs_lab.cli.composition import composer
from specs_lab.cli.values import study_of
from specs_lab.data.workshop import Drawing, Question, Workshop
from specs_lab.models.vlm import VLM
from specs_lab.stages.construct import answers
from specs_lab.stages.context import Study

Sampler = Callable[[VLM, Sequence[Question], int, Drawing, int], tuple[list[list[str]], int]]


def one_by_one(
    vlm: VLM, questions: Sequence[Question], count: int, drawing: Drawing, batch_size: int
) -> tuple[list[list[str]], int]:
    """The same answers, but each prompt goes through the sampler by itself."""
    parts = [answers(vlm, [question], count, drawing, batch_size) for question in questions]
    return [text for texts, _ in parts for text in texts], sum(cut for _, cut in parts)


def seconds(study: Study, vlm: VLM, sampler: Sampler, pairs: int, seed: int) -> tuple[float, int]:
    """Wall time of making pairs, grading and filters included, and how many were made."""

    def sample(_: str, questions: Sequence[Question], count: int, drawing: Drawing) -> list[list[str]]:
        return sampler(vlm, questions, count, drawing, study.trainer.sample_batch_size)[0]

    study.data.pairs = pairs
    start = time.perf_counter()
    made = study.data.records(Workshop(seed=seed, problems=study.problems, sample=sample))
    return time.perf_counter() - start, len(made)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures both in turn, writes and prints."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.constructions", description=__doc__)
    parser.add_argument("--pairs", type=int, default=512)
    parser.add_argument("--alone", type=int, default=32, help="pairs that are made prompt by prompt")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--model", default="small")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "constructions.json")
    given = parser.parse_args(arguments)
    torch.set_num_threads(given.threads)
    with composer() as known:
        study = study_of(known.compose(["data=self_distill", f"model={given.model}"]))
    vlm = VLM.load(study.model.folder)
    seconds(study, vlm, answers, 8, seed=-1)  # to warm up
    together, alone = [], []
    for repeat in range(given.repeats):
        taken, made = seconds(study, vlm, answers, given.pairs, seed=repeat)
        together.append(taken / made)
        taken, made = seconds(study, vlm, one_by_one, given.alone, seed=repeat)
        alone.append(taken / made)
    results: dict[str, Any] = {
        "kind": "constructions",
        "machine": machine(),
        "settings": {"threads": given.threads, "model": given.model, "pairs": given.pairs, "data": "self_distill"},
        "seconds": spread([one * given.pairs for one in together]),
        "pair_seconds": {"together": spread(together), "one by one": spread(alone)},
        "ratio": spread([b / a for a, b in zip(together, alone, strict=True)]),
    }
    write(results, given.out)
    print(f"{given.pairs} pairs in {results['seconds']['median']:.1f} s; one by one {results['ratio']['median']:.1f}x")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
