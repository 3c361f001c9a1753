"""Supervised fine-tuning on the chosen responses.

``L = -sum_t log p(y_t | x, y_<t)``, averaged over the tokens of the step (``token``) or first over each response's
tokens and then over responses (``sequence``). SPECS (arXiv 2510.25801) does not state which; its hybrid's SFT term is
read as length-averaged.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from specs_lab.core.options import Checks, option
from specs_lab.objectives.optimisation import ColdStartOptions
from specs_lab.objectives.terms import Loss, Term

SFT_NORMS = ("token", "sequence")


@option("coldstart", "sft")
@dataclass(kw_only=True)
class SFTOptions(ColdStartOptions):
    """SFT cold start.

    Attributes:
        sft_norm: ``token``: mean over all chosen tokens of the step. ``sequence``: mean over responses of their means.
    """

    sft_norm: str = "token"

    def checks(self) -> Checks:
        """The checks of all settings."""
        return super().checks().one_of("sft_norm", self.sft_norm, SFT_NORMS)


def sft_term(logprobs: Tensor, mask: Tensor, norm: str, weight: float = 1.0) -> Term:
    """The negative log-likelihood of responses.

    Args:
        logprobs: (B, T) float, log-probability of each token.
        mask: (B, T) bool, True at response tokens. A row without any contributes zero.
        norm: ``token`` or ``sequence``.
        weight: Factor in the loss (the hybrid's lambda).
    """
    nll = -(logprobs * mask).sum(-1)
    if norm == "token":
        return Term(nll.sum(), "token", weight)
    return Term((nll / mask.sum(-1).clamp(min=1)).sum(), "sequence", weight)


def sft_loss(logprobs: Tensor, mask: Tensor, norm: str) -> Loss:
    """The SFT objective; arguments as :func:`sft_term`."""
    lengths = mask.sum(-1).clamp(min=1)
    return Loss([sft_term(logprobs, mask, norm)], {"nll": -((logprobs * mask).sum(-1) / lengths).detach().sum()})
