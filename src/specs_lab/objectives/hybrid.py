"""The SPECS cold start (arXiv 2510.25801): DPO plus lambda times SFT on the chosen side, in one loss.

With ``sft_norm: sequence`` it is the loss of iterative RPO (arXiv 2404.19733v3, eq. 1): ``L_DPO + alpha * -log p(yw) /
|yw|``, averaged over pairs, with lambda for alpha (1 in the paper). Deviations from that paper: one round on given
pairs, where it has several on pairs that the model makes; and ``|yw|`` counts the end token, which is learned. The
paper's first version put alpha before the DPO term and the prompt into the likelihood.
"""

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


def hybrid_loss(pairs: PairLogps, chosen_logprobs: Tensor, chosen_mask: Tensor, options: HybridOptions) -> Loss:
    """DPO + lambda * SFT(chosen).

    Args:
        pairs: Log-probabilities of B pairs.
        chosen_logprobs: (B, T) float, policy log-probability of each token of the chosen side.
        chosen_mask: (B, T) bool, True at response tokens.
        options: Those of DPO, ``sft_weight`` and ``sft_norm``.

    Example:
        One pair at step 0, chosen tokens of -1 and -3 nats, lambda 0.5: ln 2 + 0.5 * (1 + 3) / 2 = 1.6931.
    """
    preference = dpo_loss(pairs, options)
    supervised = sft_loss(chosen_logprobs, chosen_mask, options.sft_norm)
    term = sft_term(chosen_logprobs, chosen_mask, options.sft_norm, options.sft_weight)
    return Loss([*preference.terms, term], {**preference.metrics, **supervised.metrics})
