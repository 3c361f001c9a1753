"""Metrics of dicts: equal as a whole, or key by key."""

from __future__ import annotations

from typing import Any

from specs_lab.evaluation.benchmarks.mega_bench.metrics.boxes import best_overlaps
from specs_lab.evaluation.benchmarks.mega_bench.metrics.sets import jaccard, same_set
from specs_lab.evaluation.benchmarks.mega_bench.metrics.strings import exact
from specs_lab.evaluation.benchmarks.mega_bench.registry import BadGold, Metric, metric
from specs_lab.evaluation.benchmarks.mega_bench.values import as_dict, mean


def _gold_dict(gold: Any) -> dict[Any, Any]:
    wanted = as_dict(gold)
    if not wanted:
        raise BadGold("is no dict that says anything")
    return wanted


@metric("dict_equality")
def same(given: Any, gold: Any) -> float:
    """The same keys and values."""
    wanted = _gold_dict(gold)
    return float(as_dict(given) == wanted)


@metric("dict_precision")
def precision(given: Any, gold: Any) -> float:
    """The share of the response's keys whose values are right."""
    wanted = _gold_dict(gold)
    named = as_dict(given) or {}
    return mean(key in wanted and exact(value, wanted[key]) == 1 for key, value in named.items())


@metric("dict_exact_str_match_agg_recall")
def recall(given: Any, gold: Any) -> float:
    """The share of the answer's keys whose values the response has."""
    wanted = _gold_dict(gold)
    named = as_dict(given) or {}
    return mean(key in named and exact(named[key], value) == 1 for key, value in wanted.items())


def _over_all_keys(inner: Metric) -> Metric:
    """The mean of a metric over the keys of response and answer; a key that one of them lacks counts as empty there."""

    def score(given: Any, gold: Any) -> float:
        wanted, named = _gold_dict(gold), as_dict(given)
        if named is None:
            return 0.0
        keys = dict.fromkeys([*wanted, *named])
        return mean(inner(named.get(key, []), wanted.get(key, [])) or 0.0 for key in keys)

    return score


metric("dict_set_equality_agg_jaccard")(_over_all_keys(same_set))
metric("dict_jaccard_agg_jaccard")(_over_all_keys(jaccard))
metric("dict_nbbox_iou_tuple_agg_jaccard")(_over_all_keys(best_overlaps))
