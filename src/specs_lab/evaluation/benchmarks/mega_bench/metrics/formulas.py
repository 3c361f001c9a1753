"""Metrics of formulas, compared by the grader's algebra in processes that can be stopped."""

from __future__ import annotations

import re
from typing import Any

from specs_lab.core.errors import UserError
from specs_lab.evaluation.benchmarks.mega_bench.metrics.strings import simple
from specs_lab.evaluation.benchmarks.mega_bench.registry import BadGold, metric
from specs_lab.rewards.grader import grade
from specs_lab.rewards.kinds.base import KINDS, Terms

_ENVIRONMENT = re.compile(r"\\(?:begin|end)\{[^{}]*\}(?:\[[^\[\]]*\])?|\\[()\[\]]")
_MATHEMATICS = re.compile(r"\$([^$]*)\$")
_KINDS = ("equation", "expression", "matrix")


@metric("latex_expr_equality")
def equal(given: Any, gold: Any) -> float:
    """Expressions or equations that can be rearranged into each other; what is none is compared as text."""
    if not isinstance(gold, str):
        raise BadGold("is no text")
    if not isinstance(given, str):
        return 0.0
    said, wanted = (_ENVIRONMENT.sub("", one).strip() for one in (given, gold))
    kind = next((name for name in _KINDS if KINDS.get(name).read_gold(wanted, Terms()) is not None), None)
    if kind is None or said == wanted:
        return simple(said, wanted)
    try:
        verdict = grade(f"<answer>{said}</answer>", wanted, kind)
    except UserError:  # the computer algebra system cannot read the gold answer
        return simple(said, wanted)
    return max(float(verdict.correct), simple(said, wanted))


@metric("text_with_latex_expr_equality")
def equal_with_text(given: Any, gold: Any) -> float:
    """Texts equal but for case and spaces, and formulas between ``$`` equal; commas count in neither."""
    if not isinstance(gold, str):
        raise BadGold("is no text")
    if not isinstance(given, str):
        return 0.0
    if simple(*(_MATHEMATICS.sub("", one).replace(",", "") for one in (given, gold))) == 0:
        return 0.0
    said, wanted = (
        " ".join(one.strip().replace(",", "") for one in _MATHEMATICS.findall(text)) for text in (given, gold)
    )
    return equal(said, wanted) if said or wanted else 1.0
