"""Group relative policy optimisation (arXiv 2402.03300, eq. 3), with the options its descendants added.

Per token, with ratio ``r = p_new / p_old`` and the response's advantage A:
``L = -min(r * A, clip(r, 1 - clip_low, 1 + clip_high) * A) + kl_weight * k3``,
``k3 = exp(q - p) - (q - p) - 1`` for log-probabilities p of the policy and q of the reference.

Deviations from the paper: the clip range may be asymmetric (DAPO, arXiv 2503.14476, eq. 10); the loss may be averaged
over all tokens of the step (DAPO, ``token``) instead of first over each response (``sequence``); no KL by default
(SPECS, arXiv 2510.25801); the group's standard deviation may be left out of the advantage (Dr. GRPO, arXiv
2503.20783).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from specs_lab.core.options import Checks, option
from specs_lab.objectives.optimisation import OptimiserOptions
from specs_lab.objectives.terms import Loss, Term

LOSS_NORMS = ("token", "sequence")
_EPSILON = 1e-4


@option("rl", "grpo")
@dataclass(kw_only=True)
class GRPOOptions(OptimiserOptions):
    """GRPO.

    Attributes:
        group_size: Responses sampled for one prompt.
        prompts_per_step: Prompts in one rollout batch.
        inner_updates: Optimizer updates on one rollout batch; one ``step`` is one rollout batch.
        clip_low: Lower clip distance of the probability ratio.
        clip_high: Upper clip distance of the probability ratio.
        kl_weight: Weight of the KL penalty (k3) towards the policy that the stage started from; 0 leaves it out.
        loss_norm: ``token``: mean over all tokens of the step. ``sequence``: mean over responses of their means.
        scale_advantages: Divide advantages by their group's standard deviation.
        temperature: Of sampling, and of the probabilities in the loss: what was sampled from is what is improved.
        max_new_tokens: Longest response; longer ones are cut and count as such.
        mixture: Cells (names in ``problems.cells``) that prompts come from, each with equal probability.
        log_every: Rollout metrics are written every so many steps.
    """

    group_size: int = 8
    prompts_per_step: int = 8
    inner_updates: int = 1
    clip_low: float = 0.2
    clip_high: float = 0.2
    kl_weight: float = 0.0
    loss_norm: str = "token"
    scale_advantages: bool = True
    temperature: float = 1.0
    max_new_tokens: int = 48
    mixture: list[str] = field(default_factory=lambda: ["id"])
    log_every: int = 1

    def checks(self) -> Checks:
        """The checks of all settings."""
        return (
            super()
            .checks()
            .at_least("group_size", self.group_size, 2)
            .at_least("prompts_per_step", self.prompts_per_step, 1)
            .at_least("inner_updates", self.inner_updates, 1)
            .positive("clip_low", self.clip_low)
            .positive("clip_high", self.clip_high)
            .at_least("kl_weight", self.kl_weight, 0)
            .one_of("loss_norm", self.loss_norm, LOSS_NORMS)
            .positive("temperature", self.temperature)
            .at_least("max_new_tokens", self.max_new_tokens, 1)
            .at_least("log_every", self.log_every, 1)
            .that(bool(self.mixture), "mixture", "no cell is named", "name at least one cell, e.g. [id]")
        )


def group_advantages(rewards: Tensor, *, scale: bool = True) -> Tensor:
    """How much better each response is than its group.

    Args:
        rewards: (prompts, group) float.
        scale: Divide by the group's (unbiased) standard deviation plus 1e-4.

    Returns:
        (prompts, group) float; exactly zero in groups whose rewards are all equal.

    Example:
        Rewards (0, 1) give (-0.5, 0.5), and divided by 0.7071 + 1e-4: (-0.7070, 0.7070).
    """
    centred = rewards - rewards.mean(dim=1, keepdim=True)
    centred = torch.where(zero_variance(rewards)[:, None], torch.zeros_like(centred), centred)
    return centred / (rewards.std(dim=1, keepdim=True) + _EPSILON) if scale else centred


def zero_variance(rewards: Tensor) -> Tensor:
    """Which groups teach nothing because all their rewards are equal: (prompts, group) -> (prompts,) bool."""
    return rewards.amax(dim=1) == rewards.amin(dim=1)


def kl_k3(policy: Tensor, reference: Tensor) -> Tensor:
    """The k3 estimate of KL(policy || reference) per token: unbiased under the policy, never negative."""
    gap = reference - policy
    return torch.expm1(gap) - gap  # exp(gap) - gap - 1 cancels for small gaps, down to negative values


@dataclass(frozen=True)
class RolloutLogprobs:
    """Per-token log-probabilities of sampled responses, each (B, T) float; ``mask`` (B, T) bool names response tokens.

    Attributes:
        policy: Under the policy being trained; carries gradients.
        old: Under the policy that sampled.
        mask: True at response tokens.
        reference: Under the KL reference, or None without a KL term.
    """

    policy: Tensor
    old: Tensor
    mask: Tensor
    reference: Tensor | None = None


def grpo_loss(
    rollout: RolloutLogprobs,
    advantages: Tensor,
    *,
    clip_low: float,
    clip_high: float,
    kl_weight: float = 0.0,
    loss_norm: str = "token",
) -> Loss:
    """The GRPO objective.

    Args:
        rollout: Log-probabilities of B responses.
        advantages: (B,) float.
        clip_low: Lower clip distance.
        clip_high: Upper clip distance.
        kl_weight: Weight of the k3 penalty; needs ``rollout.reference`` when not 0.
        loss_norm: ``token`` or ``sequence``.

    Raises:
        ValueError: If a KL term is wanted without a reference.
    """
    mask = rollout.mask
    ratio = torch.exp(torch.where(mask, rollout.policy - rollout.old, torch.zeros_like(rollout.policy)))
    advantage = advantages[:, None]
    clipped = ratio.clamp(1 - clip_low, 1 + clip_high)
    per_token = -torch.minimum(ratio * advantage, clipped * advantage)
    lengths = mask.sum(-1).clamp(min=1)
    metrics = {
        "clip_share": ((ratio * advantage > clipped * advantage) & mask).float().sum(-1) / lengths,
        "ratio": (ratio * mask).sum(-1) / lengths,
    }
    if kl_weight:
        if rollout.reference is None:
            raise ValueError("a KL term needs reference log-probabilities")
        kl = kl_k3(rollout.policy, torch.where(mask, rollout.reference, rollout.policy.detach()))
        per_token = per_token + kl_weight * kl
        metrics["kl"] = (kl * mask).sum(-1) / lengths
    per_row = (per_token * mask).sum(-1)
    total = per_row.sum() if loss_norm == "token" else (per_row / lengths).sum()
    unit = "token" if loss_norm == "token" else "sequence"
    return Loss([Term(total, unit)], {name: value.detach().sum() for name, value in metrics.items()})
