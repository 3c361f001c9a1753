"""Losses of one preference pair, as functions of how much more the policy prefers the chosen side.

``h = log p(yw)/q(yw) - log p(yl)/q(yl)`` for policy p, reference q, chosen response yw and rejected response yl; with
``s = beta * h`` and label smoothing e:

- ``sigmoid``: ``-(1 - e) log sigmoid(s) - e log sigmoid(-s)``. DPO (arXiv 2305.18290, eq. 7) for e = 0; conservative
  DPO (Mitchell 2023, ericmitchell.ai/cdpo.pdf) for e > 0, whose minimum is at sigmoid(s) = 1 - e.
- ``ipo``: ``(h - 1 / (2 beta))^2`` (IPO, arXiv 2310.12036, eq. 17, where beta is called tau).
- ``hinge``: ``max(0, 1 - s)``, the form of SLiC-HF's calibration loss (arXiv 2305.10425) that TRL has. Deviations from
  SLiC-HF: it compares log p alone (``reference_free`` here), its margin delta is 1/beta after division by beta, and it
  adds a likelihood term (``hybrid`` here).
- ``robust``: ``((1 - e) L(s) - e L(-s)) / (1 - 2e)`` with ``L(s) = -log sigmoid(s)``: the mean over flips of labels,
  each with probability e, is the loss of the true labels (robust DPO, arXiv 2403.00409). It has no lower bound.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

PAIR_LOSSES = ("sigmoid", "ipo", "hinge", "robust")
SMOOTHED_LOSSES = ("sigmoid", "robust")
"""Those in which label smoothing has a meaning."""


def pair_losses(gap: Tensor, kind: str, beta: float, label_smoothing: float = 0.0) -> Tensor:
    """The loss of each pair.

    Args:
        gap: (B,) float, h: difference of the log-ratios of the two sides, in nats.
        kind: One of ``PAIR_LOSSES``.
        beta: Strength of the pull towards the reference, > 0.
        label_smoothing: Assumed share of pairs whose sides are swapped, in [0, 0.5); ``ipo`` and ``hinge`` ignore it.

    Returns:
        (B,) float.

    Example:
        h = 5 and beta = 0.1 give s = 0.5: ``sigmoid`` log(1 + exp(-0.5)) = 0.4741, ``hinge`` 0.5, ``ipo``
        (5 - 5)^2 = 0. With e = 0.1: ``sigmoid`` 0.9 * 0.4741 + 0.1 * 0.9741 = 0.5241, ``robust``
        (0.9 * 0.4741 - 0.1 * 0.9741) / 0.8 = 0.4116.

    Raises:
        ValueError: If there is no such kind.
    """
    if kind == "ipo":
        return (gap - 1 / (2 * beta)).square()
    score = beta * gap
    if kind == "hinge":
        return torch.relu(1 - score)
    if kind not in SMOOTHED_LOSSES:
        raise ValueError(f"there is no loss '{kind}'; choose one of: {', '.join(PAIR_LOSSES)}")
    as_labelled, swapped = -logsigmoid(score), -logsigmoid(-score)
    if kind == "robust":
        return ((1 - label_smoothing) * as_labelled - label_smoothing * swapped) / (1 - 2 * label_smoothing)
    return (1 - label_smoothing) * as_labelled + label_smoothing * swapped
