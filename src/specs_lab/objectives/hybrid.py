"""The SPECS cold start (arXiv 2510.25801): DPO plus lambda times SFT on the chosen side, in one loss."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from specs_lab.core.options import Checks, option
from specs_lab.objectives.dpo import DPOOptions, PairLogps, dpo_loss
from specs_lab.objectives.sft import SFT_NORMS, sft_loss, sft_term
from specs_lab.objectives.terms import Loss


@option("coldstart", "hybrid")
@dataclass(kw_only=True)
class HybridOptions(DPOOptions):
    """Hybrid cold start.

    Attributes:
        sft_weight: Lambda, the weight of the SFT term; 0 is DPO.
        sft_norm: How the SFT term is averaged, as in the SFT arm.
    """

    sft_weight: float = 1.0
    sft_norm: str = "token"

    def checks(self) -> Checks:
        """The checks of all settings."""
        return super().checks().at_least("sft_weight", self.sft_weight, 0).one_of("sft_norm", self.sft_norm, SFT_NORMS)


def hybrid_loss(
    pairs: PairLogps, chosen_logprobs: Tensor, chosen_mask: Tensor, *, beta: float, sft_weight: float, sft_norm: str
) -> Loss:
    """DPO + lambda * SFT(chosen).

    Args:
        pairs: Log-probabilities of B pairs.
        chosen_logprobs: (B, T) float, policy log-probability of each token of the chosen side.
        chosen_mask: (B, T) bool, True at response tokens.
        beta: DPO's beta.
        sft_weight: Lambda.
        sft_norm: ``token`` or ``sequence``.
    """
    preference = dpo_loss(pairs, beta)
    supervised = sft_loss(chosen_logprobs, chosen_mask, sft_norm)
    term = sft_term(chosen_logprobs, chosen_mask, sft_norm, sft_weight)
    return Loss([*preference.terms, term], {**preference.metrics, **supervised.metrics})
