"""How the answer to a row is scored: which metric each field has, and how fields make a score."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from specs_lab.evaluation.benchmarks.literals import LONGEST_IN_DATA, NotLiteral, json_value, literal, unquoted
from specs_lab.evaluation.benchmarks.mega_bench.parsing import JSON, PARSERS, SINGLE, fields_of
from specs_lab.evaluation.benchmarks.mega_bench.registry import CONTEXTUAL, METRICS, UNSUPPORTED, BadGold
from specs_lab.problems.rows import BrokenRow
from specs_lab.rewards.grader import LONGEST_ANSWER, Verdict

_AGGREGATIONS = ("mean", "min")
_OWN_BOX = "boxed_single_numerical_match"
_EXACT = 1e-9
_NOT_ASKED = "##"


@dataclass(frozen=True)
class Plan:
    """How a response to a row is scored.

    Attributes:
        answer: What is right, by field.
        metrics: Names of metrics by field; fields that are not in ``answer`` take the whole answer.
        aggregation: ``mean`` or ``min``.
        weights: Of fields in a mean; 1 where there is none.
        parser: One of :data:`~specs_lab.evaluation.benchmarks.mega_bench.parsing.PARSERS`.
        context: What contextual metrics compare with.
    """

    answer: Mapping[str, Any]
    metrics: Mapping[str, str]
    aggregation: str
    weights: Mapping[str, float]
    parser: str
    context: Mapping[str, Any]

    @property
    def asked(self) -> tuple[str, ...]:
        """The fields that a response is to state."""
        return tuple(name for name in self.answer if not name.startswith(_NOT_ASKED)) or tuple(self.answer)

    def score(self, response: str) -> Verdict:
        """The score of a response in [0, 1]; right if it is 1."""
        one_line = "\n" not in str(self.answer[self.asked[0]])
        boxes = _OWN_BOX not in self.metrics.values()
        fields = fields_of(response, self.asked, self.parser, one_line=one_line, boxes=boxes)
        scores = {name: self._score_of(name, fields) for name in self.metrics}
        counted = {name: score for name, score in scores.items() if score is not None}
        total = self._together(counted)
        shown = str(next(iter(fields.values()))) if len(fields) == 1 else json.dumps(fields, default=str)
        reason = "; ".join(
            f"{name} {'not counted' if score is None else f'{score:.3g}'}" for name, score in scores.items()
        )
        kind = ", ".join(dict.fromkeys(self.metrics.values()))
        return Verdict(total == 1, kind, shown[:LONGEST_ANSWER] or None, reason, total)

    def _score_of(self, name: str, fields: Mapping[str, Any]) -> float | None:
        given = fields.get(name) if name in self.answer else dict(fields)
        return 0.0 if given is None else METRICS.get(self.metrics[name])(given, self.gold(name))

    def gold(self, name: str) -> Any:
        """What a field's metric compares with."""
        if self.metrics[name] in CONTEXTUAL:
            return self.context
        return unquoted(self.answer[name]) if name in self.answer else dict(self.answer)

    def _together(self, scores: Mapping[str, float]) -> float:
        if not scores:  # nothing counts, for there is nothing to say: and nothing wrong was said
            return 1.0
        if self.aggregation == "min":
            total = min(scores.values())
        else:
            weights = {name: self.weights.get(name, 1.0) for name in scores}
            whole = sum(weights.values())
            total = sum(weights[name] * score for name, score in scores.items()) / whole if whole else 0.0
        return 1.0 if total > 1 - _EXACT else max(0.0, total)


@lru_cache(maxsize=4096)
def plan_of(metric_info: str, answer: str, context: str = "") -> Plan:
    """Reads how a row is scored.

    Args:
        metric_info: The row's ``metric_info``, a literal.
        answer: The row's ``answer``, a literal: right values by field.
        context: The row's ``eval_context``, a literal, which few metrics need.

    Raises:
        BrokenRow: ``bad_answer`` or ``bad_metric_info`` if they are no such things, ``unsupported_metric``,
            ``unsupported_parser`` or ``unsupported_aggregation`` if one is not there, ``gold_not_read`` if a gold
            answer is none of its metric's.
    """
    info = _dict(metric_info, "bad_metric_info", "metric_info")
    golds = {str(name): value for name, value in _dict(answer, "bad_answer", "answer").items()}
    metrics = _metrics(info, golds)
    aggregation = _dict(info.get("aggregation") or {}, "bad_metric_info", "the aggregation")
    plan = Plan(
        answer=golds,
        metrics=metrics,
        aggregation=_known(aggregation.get("function"), _AGGREGATIONS, "mean", "aggregation"),
        weights=_weights(aggregation, metrics),
        parser=_known(info.get("response_parse_function"), PARSERS, JSON, "parser"),
        context=_dict(context or "{}", "bad_eval_context", "eval_context") if CONTEXTUAL & {*metrics.values()} else {},
    )
    if plan.parser in SINGLE and len(plan.asked) != 1:
        raise BrokenRow("bad_metric_info", f"'{plan.parser}' reads one field, and there are {len(plan.asked)}")
    for name, metric in metrics.items():
        try:
            METRICS.get(metric)("", plan.gold(name))
        except BadGold as error:
            raise BrokenRow("gold_not_read", f"the answer of '{name}' {error}, as {metric} wants it") from error
    return plan


def needs_context(metric_info: str) -> bool:
    """Whether a metric compares with the context."""
    return any(name in metric_info for name in CONTEXTUAL)


def _dict(value: Any, reason: str, where: str) -> dict[Any, Any]:
    if isinstance(value, str):
        value = _read(value, reason, where)
    if not isinstance(value, dict):
        raise BrokenRow(reason, f"{where} is no dict")
    return value


def _read(text: str, reason: str, where: str) -> Any:
    for read in (literal, json_value):
        try:
            return read(text, LONGEST_IN_DATA)
        except NotLiteral:
            continue
    raise BrokenRow(reason, f"{where} is neither a Python literal nor JSON: {text[:60]!r}")


def _metrics(info: Mapping[str, Any], golds: Mapping[str, Any]) -> dict[str, str]:
    """The metric of every field of the answer, and of what takes the whole answer."""
    if not golds:
        raise BrokenRow("bad_answer", "has no field")
    by_field = _dict(info.get("field_score_function") or {}, "bad_metric_info", "field_score_function")
    whole = _dict(info.get("global_aux_metrics") or {}, "bad_metric_info", "global_aux_metrics")
    named = {**{name: by_field.get(name) for name in golds}, **{str(name): metric for name, metric in whole.items()}}
    missing = sorted(name for name, metric in named.items() if not isinstance(metric, str))
    if missing:
        raise BrokenRow("bad_metric_info", f"has no metric for {missing}")
    metrics = {name: str(metric).lower() for name, metric in named.items()}
    unknown = [metric for metric in metrics.values() if metric not in METRICS]
    if unknown:
        why = UNSUPPORTED.get(unknown[0], "is unknown")
        raise BrokenRow("unsupported_metric", f"{unknown[0]} {why}")
    return metrics


def _known(name: Any, known: tuple[str, ...], default: str, what: str) -> str:
    if name is None:
        return default
    if str(name).lower() not in known:
        raise BrokenRow(f"unsupported_{what}", f"there is no {what} '{name}'")
    return str(name).lower()


def _weights(aggregation: Mapping[str, Any], metrics: Mapping[str, str]) -> dict[str, float]:
    weights = _dict(aggregation.get("field_weights") or {}, "bad_metric_info", "field_weights")
    found = {name: weights.get(name, 1) for name in metrics}
    fine = all(isinstance(weight, int | float) and 0 <= weight <= 1000 for weight in found.values())
    if not fine or not sum(found.values()):
        raise BrokenRow("bad_metric_info", f"has weights that are none: {found}")
    return {name: float(weight) for name, weight in found.items()}
