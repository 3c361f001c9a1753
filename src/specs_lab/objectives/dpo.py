"""Direct preference optimisation (arXiv 2305.18290, eq. 7), sigmoid form.

``L = -log sigmoid(beta * (log p(yw)/q(yw) - log p(yl)/q(yl)))`` with policy p and reference q, averaged over pairs.
At step 0 policy and reference are the same model, so the loss is exactly ln 2.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor
from torch.nn.functional import logsigmoid

from specs_lab.core.options import Checks, option
from specs_lab.objectives.optimisation import ColdStartOptions
from specs_lab.objectives.terms import Loss, Term


@option("coldstart", "dpo")
@dataclass(kw_only=True)
class DPOOptions(ColdStartOptions):
    """DPO cold start.

    Attributes:
        beta: Strength of the pull towards the reference. SPECS does not state its value; 0.1 is the usual one.
    """

    beta: float = 0.1

    def checks(self) -> Checks:
        """The checks of all settings."""
        return super().checks().positive("beta", self.beta)


@dataclass(frozen=True)
class PairLogps:
    """Log-probabilities of whole responses, each (B,) float."""

    policy_chosen: Tensor
    policy_rejected: Tensor
    reference_chosen: Tensor
    reference_rejected: Tensor


def dpo_loss(pairs: PairLogps, beta: float) -> Loss:
    """The DPO objective.

    Args:
        pairs: Log-probabilities of B pairs; gradients flow through the policy's only.
        beta: Strength of the pull towards the reference, > 0.

    Returns:
        A loss per pair, and the implicit rewards ``beta * log p/q`` of both sides, their margin, and how often the
        margin is positive.
    """
    chosen = beta * (pairs.policy_chosen - pairs.reference_chosen)
    rejected = beta * (pairs.policy_rejected - pairs.reference_rejected)
    margin = chosen - rejected
    losses = -logsigmoid(margin)
    metrics = {
        "dpo_loss": losses,
        "reward_chosen": chosen,
        "reward_rejected": rejected,
        "reward_margin": margin,
        "reward_accuracy": (margin > 0).float(),
    }
    return Loss([Term(losses.sum(), "sequence")], {name: value.detach().sum() for name, value in metrics.items()})
