"""Sampling: prompts are encoded once, bound by computing; then tokens one by one, bound by the memory's bandwidth."""

from __future__ import annotations

import math
from dataclasses import dataclass

from specs_lab.core.budget import FORWARD_FLOPS
from specs_lab.preflight.loads import Pass, Setup
from specs_lab.preflight.shapes import ModelShape
from specs_lab.scaling.work import Work, forward

_CHOICE_BYTES = 40
"""Bytes that choosing a token moves for each entry of the vocabulary: log-softmax, weights, a sum in float64."""
_BUCKETS = 64
_EULER = 0.5772


@dataclass(frozen=True, kw_only=True)
class Rollout:
    """Responses that are decoded.

    Attributes:
        prompts: Prompts.
        group: Responses to each.
        prompt_tokens: Tokens of each prompt.
        mean: Mean tokens of a response.
        most: Longest allowed.
        spread: Standard deviation of lengths over their mean.
        batch: Responses decoded side by side.
        shared: Whether responses read one copy of their prompt's keys and values.
        of_all: Responses of all devices, the longest of which all wait for; 0: there are no others.
    """

    prompts: int
    group: int
    prompt_tokens: int
    mean: float
    most: int
    spread: float = 0.0
    batch: int = 128
    shared: bool = True
    of_all: int = 0

    @property
    def rows(self) -> int:
        """Responses."""
        return self.prompts * self.group

    @property
    def tokens(self) -> float:
        """Tokens that are sampled."""
        return self.rows * min(self.mean, self.most)

    def longest(self, rows: int) -> float:
        """Expected length of the longest of some responses: that of exponentials scaled to the spread, if allowed.

        An exponential's expected maximum among n is its mean times the harmonic number of n.
        """
        mean = min(self.mean, self.most)
        return min(float(self.most), mean * (1 + self.spread * max(0.0, math.log(max(1, rows)) + _EULER - 1)))


def alive(length: float, mean: float, longest: float) -> float:
    """Share of responses that are longer than ``length``: none beyond the longest, ``mean`` of them on average.

    All equally long where the longest is the mean, else falling exponentially.
    """
    if length >= longest:
        return 0.0
    return 1.0 if longest <= mean * 1.001 else math.exp(-length / mean)


def decode(shape: ModelShape, setup: Setup, load: Rollout, sharing: int = 1) -> list[tuple[float, Work]]:
    """Steps of decoding one batch, as (number of steps, work of each).

    Args:
        shape: The model.
        setup: How it is held.
        load: What is sampled.
        sharing: Devices that hold a model together (tensor parallelism), each of which does an equal share.
    """
    text, element = shape.text, setup.element
    rows = min(load.rows, load.batch)
    mean, longest = min(load.mean, load.most), load.longest(max(rows, load.of_all))
    prompts = rows / load.group if load.shared else rows
    buckets = 1 if longest <= mean * 1.001 else _BUCKETS
    read = element * (text.parameters + shape.vocabulary * text.hidden)
    steps: list[tuple[float, Work]] = []
    total = sum(alive((n + 0.5) * longest / buckets, mean, longest) for n in range(buckets)) * longest / buckets
    stretch = mean / total  # what buckets and the cut at the longest lose of the mean
    for number in range(buckets):
        length = (number + 0.5) * longest / buckets
        here = max(1.0, rows * min(1.0, alive(length, mean, longest) * stretch))
        through = text.parameters + shape.vocabulary * text.hidden
        context = load.prompt_tokens + length
        work = Work(
            flops=here * (FORWARD_FLOPS * through + 4 * text.query * text.count * context),
            width=text.hidden,
            weights=read,
            cache=2 * text.key * text.count * element * (min(here, prompts) * load.prompt_tokens + here * length),
            moved=here * shape.vocabulary * _CHOICE_BYTES,
        )
        one = work.times(1 / sharing)
        steps.append((longest / buckets, Work(**{**vars(one), "launches": text.count})))
    return steps


def prefill(shape: ModelShape, setup: Setup, load: Rollout) -> Work:
    """Encoding all prompts, each once (or, unshared, once for each response)."""
    prompts = load.prompts if load.shared else load.rows
    return forward(
        shape,
        setup,
        Pass(prompts=prompts, prompt_tokens=load.prompt_tokens, branches=0, completion_tokens=0),
    )


def cache_bytes(shape: ModelShape, setup: Setup, load: Rollout) -> float:
    """Bytes of keys and values at their most."""
    rows = min(load.rows, load.batch)
    prompts = rows / load.group if load.shared else rows
    per_token = 2 * shape.text.key * shape.text.count * setup.element
    return per_token * (prompts * load.prompt_tokens + rows * load.longest(rows) / 2)
