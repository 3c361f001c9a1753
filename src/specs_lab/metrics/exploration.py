"""What many responses to one problem say about a policy's exploration, as one number a measure."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from math import nan

from specs_lab.metrics.passk import maj_at_k, pass_at_k
from specs_lab.metrics.reflections import count
from specs_lab.metrics.stuckness import all_correct, all_wrong

PASS, JOINT_PASS, MAJ = "pass@", "joint pass@", "maj@"
"""What k follows: the answer is right, format and answer are, the majority's answer is."""
RBF, ENTROPY, LENGTH = "rbf", "entropy", "length"
REFLECTIONS, REFLECTIONS_CORRECT, REFLECTIONS_WRONG = "reflections", "reflections correct", "reflections wrong"
WITH, WITHOUT, AHA_GAP = "accuracy with reflection", "accuracy without reflection", "aha accuracy gap"
DISTINCT = "distinct answers"
AMOUNTS = frozenset({RBF, ENTROPY, LENGTH, REFLECTIONS, REFLECTIONS_CORRECT, REFLECTIONS_WRONG, DISTINCT})
"""Measures that are no shares: they may exceed 1, but are never negative."""
DIFFERENCES = frozenset({AHA_GAP})
"""Measures that are differences of shares."""


@dataclass(frozen=True, kw_only=True)
class Answered:
    """The n responses to one problem.

    Attributes:
        texts: The responses, (n).
        lengths: Their tokens, end token included, (n).
        votes: What each answers, equal where answers are; None for no answer, (n).
        correct: Whether the answer is right, (n).
        format: Whether the format is followed, (n).
        nucleus: Tokens in the 95 % nucleus at each generated position that was looked at; may be empty.
        entropy: Entropy in nats at these positions.
    """

    texts: Sequence[str]
    lengths: Sequence[int]
    votes: Sequence[Hashable | None]
    correct: Sequence[bool]
    format: Sequence[bool]
    nucleus: Sequence[float] = field(default=())
    entropy: Sequence[float] = field(default=())


def measures(answered: Answered, ks: Sequence[int], group: int) -> dict[str, float]:
    """Every measure of one problem, by name; NaN where it has no value, e.g. of correct responses if none is.

    ``rbf`` is the rollout branching factor of SPECS (arXiv 2510.25801), ``entropy`` that of the next token; both are
    means over positions, and left out if none was looked at.

    Args:
        answered: The responses.
        ks: For pass@k, joint pass@k and maj@k; each at most n.
        group: Responses in a group of RL, of which ``all correct`` and ``all wrong`` are; more than n count as n.
    """
    n, right = len(answered.correct), sum(answered.correct)
    joint = sum(a and b for a, b in zip(answered.format, answered.correct, strict=True))
    group = min(group, n)
    found = {f"{PASS}{k}": pass_at_k(n, right, k) for k in ks}
    found |= {f"{JOINT_PASS}{k}": pass_at_k(n, joint, k) for k in ks}
    found |= {f"{MAJ}{k}": maj_at_k(answered.votes, answered.correct, k) for k in ks}
    if answered.nucleus:
        found |= {RBF: _mean(answered.nucleus), ENTROPY: _mean(answered.entropy)}
    return {
        **found,
        LENGTH: _mean(answered.lengths),
        DISTINCT: float(len({vote for vote in answered.votes if vote is not None})),
        "all correct": all_correct(n, right, group),
        "all wrong": all_wrong(n, right, group),
        **_reflections(answered),
    }


def _reflections(answered: Answered) -> dict[str, float]:
    """Reflection words beside correctness: whether one goes with the other (arXiv 2505.22334)."""
    counts = [count(text) for text in answered.texts]
    pairs = list(zip(counts, answered.correct, strict=True))
    there = _mean([correct for number, correct in pairs if number])
    absent = _mean([correct for number, correct in pairs if not number])
    return {
        REFLECTIONS: _mean(counts),
        REFLECTIONS_CORRECT: _mean([number for number, correct in pairs if correct]),
        REFLECTIONS_WRONG: _mean([number for number, correct in pairs if not correct]),
        WITH: there,
        WITHOUT: absent,
        AHA_GAP: there - absent,
    }


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else nan
