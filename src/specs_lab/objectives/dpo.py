"""Direct preference optimisation (arXiv 2305.18290, eq. 7) and the methods that differ from it by a setting.

Each side has a log-ratio ``log p(y) - log q(y)`` with policy p and reference q; a pair's loss is one of
:mod:`specs_lab.objectives.preferences` on the difference of the two, averaged over pairs. At step 0 policy and
reference are the same model, so that ``sigmoid`` without margin and smoothing loses exactly ln 2.

Deviations from the papers, all off by default:

- IPO (arXiv 2310.12036): eq. 17 has log-probabilities of whole responses. TRL averages log-ratios over each response's
  tokens, and says that the paper's results are of that form: ``loss: ipo, length_normalised: true``.
- SimPO (arXiv 2405.14734, eq. 6) is ``sigmoid`` with ``length_normalised``, ``reference_free`` and a ``margin``.
- TRL 1.16 has no conservative DPO (its ``sigmoid`` ignores ``label_smoothing``) and, as ``sigmoid_norm``, the
  length-normalised ``sigmoid``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from specs_lab.core.options import Checks, option
from specs_lab.objectives.optimisation import ColdStartOptions
from specs_lab.objectives.preferences import PAIR_LOSSES, SMOOTHED_LOSSES, pair_losses
from specs_lab.objectives.terms import Loss, Term


@option("coldstart", "dpo")
@dataclass(kw_only=True)
class DPOOptions(ColdStartOptions):
    """DPO cold start.

    Attributes:
        beta: Strength of the pull towards the reference. SPECS does not state its value; 0.1 is the usual one.
        loss: ``sigmoid`` (DPO), ``ipo``, ``hinge`` or ``robust``.
        label_smoothing: Assumed share of pairs whose sides are swapped; only for ``sigmoid`` and ``robust``.
        length_normalised: Divide each side's log-ratio by the number of its response's tokens (at least 1).
        margin: Target margin (SimPO's gamma), in units of reward: subtracted from the reward margin inside the loss.
        reference_free: Take the reference's log-probability as 0; no reference is scored.
    """

    needs_rejected: ClassVar[bool] = True

    beta: float = 0.1
    loss: str = "sigmoid"
    label_smoothing: float = 0.0
    length_normalised: bool = False
    margin: float = 0.0
    reference_free: bool = False

    def checks(self) -> Checks:
        """The checks of all settings."""
        return (
            super()
            .checks()
            .positive("beta", self.beta)
            .one_of("loss", self.loss, PAIR_LOSSES)
            .that(
                0 <= self.label_smoothing < 0.5,
                "label_smoothing",
                f"{self.label_smoothing} is not in [0, 0.5)",
                "give the share of pairs whose sides may be swapped, less than half",
            )
            .that(
                self.label_smoothing == 0 or self.loss in SMOOTHED_LOSSES or self.loss not in PAIR_LOSSES,
                "label_smoothing",
                f"'{self.loss}' has none",
                f"set it to 0, or loss to one of: {', '.join(SMOOTHED_LOSSES)}",
            )
            .at_least("margin", self.margin, 0)
            .that(
                self.margin == 0 or self.loss != "ipo",
                "margin",
                "'ipo' has a target of its own, 1 / (2 beta)",
                "set margin to 0, or loss to another",
            )
        )


@dataclass(frozen=True)
class PairLogps:
    """Log-probabilities of whole responses, each (B,) float, and the responses' numbers of tokens, each (B,).

    References may be anything, NaN too, where the loss is reference-free.
    """

    policy_chosen: Tensor
    policy_rejected: Tensor
    reference_chosen: Tensor
    reference_rejected: Tensor
    chosen_lengths: Tensor
    rejected_lengths: Tensor


def dpo_loss(pairs: PairLogps, options: DPOOptions) -> Loss:
    """The DPO objective.

    Args:
        pairs: Log-probabilities of B pairs; gradients flow through the policy's only.
        options: ``beta``, ``loss``, ``label_smoothing``, ``length_normalised``, ``margin``, ``reference_free``.

    Returns:
        A loss per pair, and the implicit rewards ``beta * log-ratio`` of both sides, their margin (``options.margin``
        is not subtracted from it), and how often the margin is positive.

    Example:
        Chosen rises by 2 nats over the reference, rejected falls by 3, beta 0.1: rewards 0.2 and -0.3, margin 0.5,
        loss log(1 + exp(-0.5)) = 0.4741. With lengths 4 and 2 and ``length_normalised``: rewards 0.05 and -0.15.
    """
    chosen = _log_ratio(pairs.policy_chosen, pairs.reference_chosen, pairs.chosen_lengths, options)
    rejected = _log_ratio(pairs.policy_rejected, pairs.reference_rejected, pairs.rejected_lengths, options)
    gap = chosen - rejected
    losses = pair_losses(gap - options.margin / options.beta, options.loss, options.beta, options.label_smoothing)
    metrics = {
        "dpo_loss": losses,
        "reward_chosen": options.beta * chosen,
        "reward_rejected": options.beta * rejected,
        "reward_margin": options.beta * gap,
        "reward_accuracy": (gap > 0).float(),
    }
    return Loss([Term(losses.sum(), "sequence")], {name: value.detach().sum() for name, value in metrics.items()})


def _log_ratio(policy: Tensor, reference: Tensor, lengths: Tensor, options: DPOOptions) -> Tensor:
    ratio = policy if options.reference_free else policy - reference
    return ratio / lengths.clamp(min=1) if options.length_normalised else ratio
