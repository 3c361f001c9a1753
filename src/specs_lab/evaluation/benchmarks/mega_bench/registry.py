"""What a metric of MEGA-Bench is, those that are known by name, and why some are not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from specs_lab.core.registry import Registry

Metric = Callable[[Any, Any], float | None]
"""Takes what a response says in a field and what is right, each as text or as a structure; returns a score in [0, 1],
or None if the field does not count. Raises :class:`BadGold` before it looks at the response."""
M = TypeVar("M", bound=Metric)

METRICS: Registry[Metric] = Registry("MEGA-Bench metric", "specs_lab.evaluation.benchmarks.mega_bench.metrics")
"""The metrics by their public names."""

UNSUPPORTED: Mapping[str, str] = {
    "program_judge": "runs the code of the response",
    "symbolic_planning_test": "runs the plan of the response in a planner",
    "constrained_generation": "wants part-of-speech taggers, syllable counts and other language tools",
    "geo_proximity_location_dict": "looks places up on the network",
    "gpt_4o_as_judge": "asks a commercial model",
    "ascii_art_gpt4o_judge": "asks a commercial model",
    "nli_entailment": "asks a model of entailment",
    "bleu": "wants the tokeniser of another package",
    "gleu_cn": "wants a Chinese tokeniser",
    "unsupported": "is what the dataset calls no metric at all",
}
"""Public metrics that are not there, and why: what they do is no rule, or no rule that needs nothing else."""

CONTEXTUAL = frozenset({"xml_norm_point_in_bbox"})
"""Metrics that compare with the row's ``eval_context``, not with its answer."""


class BadGold(ValueError):
    """A gold answer that is none of the metric's; whatever a response said, it could not be right."""


def metric(name: str) -> Callable[[M], M]:
    """Decorator that makes a metric known under its public name."""

    def add(score: M) -> M:
        METRICS.register(name)(score)
        return score

    return add
