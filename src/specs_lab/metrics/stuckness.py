"""Proxies of a policy that is stuck: groups of rollouts that teach nothing, as all are correct or none is.

No measure of "in-distribution stuckness" is published with SPECS (arXiv 2510.25801). GRPO learns from differences
within a group, so the share of groups without any is one proxy; the gap between the ID and the OOD cell is another, and
is a difference of cells.
"""

from __future__ import annotations

from specs_lab.metrics.passk import pass_at_k


def all_correct(samples: int, correct: int, group: int) -> float:
    """How often a group of responses to one problem is all correct, estimated without bias.

    Args:
        samples: Responses that were sampled.
        correct: How many of them are correct.
        group: Responses in a group, at most ``samples``.
    """
    return 1 - pass_at_k(samples, samples - correct, group)


def all_wrong(samples: int, correct: int, group: int) -> float:
    """How often a group of responses to one problem has no correct one; arguments as of :func:`all_correct`."""
    return 1 - pass_at_k(samples, correct, group)
