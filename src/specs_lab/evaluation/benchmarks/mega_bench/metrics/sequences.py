"""Metrics of sequences, which may be texts with or without brackets and quotes."""

from __future__ import annotations

import math
from typing import Any

from specs_lab.evaluation.benchmarks.mega_bench.metrics.sets import lower
from specs_lab.evaluation.benchmarks.mega_bench.registry import BadGold, metric
from specs_lab.evaluation.benchmarks.mega_bench.values import as_list, frozen, mean, tuples_in

_DECAY = 10
_PAIR = 2


def _gold_list(gold: Any) -> list[Any]:
    elements = as_list(gold)
    if not elements:
        raise BadGold("holds no element")
    return elements


@metric("sequence_equality")
def same_sequence(given: Any, gold: Any) -> float:
    """The same elements in the same order."""
    return float(frozen(as_list(given)) == frozen(_gold_list(gold)))


@metric("sequence_equality_case_insensitive")
def same_sequence_folded(given: Any, gold: Any) -> float:
    """The same elements in the same order, as texts but for case."""
    wanted = [str(one).lower() for one in _gold_list(gold)]
    return float([str(one).lower() for one in as_list(given)] == wanted)


@metric("sequence_accuracy_case_insensitive")
def agreement(given: Any, gold: Any) -> float:
    """The share of places with the right element but for case; 0 if there are more or fewer elements."""
    wanted, named = _gold_list(gold), as_list(given)
    if len(named) != len(wanted):
        return 0.0
    return mean(lower(frozen(one)) == lower(frozen(other)) for one, other in zip(named, wanted, strict=True))


@metric("longest_common_list_prefix_ratio")
def common_beginning(given: Any, gold: Any) -> float:
    """How much of the sequence is right before its first wrong element."""
    wanted, count = _gold_list(gold), 0
    for one, other in zip(as_list(given), wanted, strict=False):
        if frozen(one) != frozen(other):
            break
        count += 1
    return count / len(wanted)


@metric("sequence_coords_similarity")
def closeness(given: Any, gold: Any) -> float:
    """Mean of exp(-10 d / sqrt 2) over points at a distance d of the right ones; 0 if there are more or fewer."""
    wanted, named = tuples_in(gold, _PAIR), tuples_in(given, _PAIR)
    if not wanted:
        raise BadGold("holds no point")
    if len(named) != len(wanted):
        return 0.0
    return mean(
        math.exp(-_DECAY * math.dist(one, other) / math.sqrt(2)) for one, other in zip(named, wanted, strict=True)
    )
