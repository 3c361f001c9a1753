"""Group relative policy optimisation (arXiv 2402.03300, eq. 3), with the options its descendants added.

Per token, with ratio ``r = p_new / p_old`` and the response's advantage A:
``L = -min(r * A, clip(r, 1 - clip_low, 1 + clip_high) * A) + kl_weight * KL``.

Deviations from the paper: no KL by default (SPECS, arXiv 2510.25801), and averaged over all tokens of the step.
What other papers changed:

- DAPO (arXiv 2503.14476): an asymmetric clip range (eq. 10), groups of equal rewards replaced by further samples
  (eq. 11), the mean over the tokens of the step where GRPO averages each response first (eq. 12), and a penalty for
  overlong responses (eq. 13), which is a part of the reward here (:mod:`specs_lab.rewards.terms.overlong`).
- Dr. GRPO (arXiv 2503.20783): advantages not divided by the group's standard deviation, and the loss is a sum over
  tokens, divided by a constant. The paper's equation has the number of responses; its code and TRL's ``dr_grpo`` divide
  by the longest response allowed as well: ``capacity``.
- GSPO (arXiv 2507.18071, eq. 5-7): r is the geometric mean of the response's ratios, ``exp(mean log p_new / p_old)``,
  one for all its tokens, and clipped as a whole. With ``loss_norm: sequence`` the loss is the paper's: every token has
  the response's loss, whose mean is that loss, and its gradient reaches each token divided by the response's length.
  Values and gradients are those of TRL's ``importance_sampling_level="sequence"``, for every normalisation. The KL
  term stays one of tokens, where TRL with ``use_bias_correction_kl`` weighs it with the response's ratio.
- MM-Eureka (arXiv 2503.07365): groups that are nearly all right or nearly all wrong are left out.
- REINFORCE++ with baseline (arXiv 2501.03262): advantages divided by the batch's standard deviation, k2 as KL.
- Truncated importance sampling (Yao et al. 2025, "Your Efficient RL Framework Secretly Brings You Off-Policy RL
  Training", a public write-up): where another engine samples, each token's loss, without the KL term, is multiplied by
  ``min(p_old / p_engine, cap)``. ``p_old``, also in r, is the trainer's, by the weights at the start of the step.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from specs_lab.core.options import Checks, option
from specs_lab.objectives.advantages import ADVANTAGE_SCALES
from specs_lab.objectives.kl import KL_ESTIMATORS, KL_GRADIENTS, kl_penalty
from specs_lab.objectives.optimisation import OptimiserOptions
from specs_lab.objectives.terms import Loss, Term, Unit

_UNITS: dict[str, Unit] = {"token": "token", "sequence": "sequence", "capacity": "capacity"}  # schemas know no Literal
LOSS_NORMS = tuple(_UNITS)
RATIO_LEVELS = ("token", "sequence")


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
        ratio_level: ``token``: a ratio for each token. ``sequence``: one for a response, the geometric mean (GSPO).
        kl_weight: Weight of the KL penalty towards the policy that the stage started from; 0 leaves it out.
        kl_target: The KL (nats a token) that the penalty's weight is adapted to, see
            :func:`specs_lab.objectives.kl.adapted_weight`; 0 leaves the weight as it is.
        kl_estimator: ``k1``, ``k2`` or ``k3``.
        kl_gradient: ``direct``: that of the estimate. ``unbiased``: that of the KL, whichever the estimate.
        loss_norm: ``token``: mean over all tokens of the step. ``sequence``: mean over responses of their means.
            ``capacity``: sum over tokens, divided by the number of responses times ``max_new_tokens``.
        advantage_scale: Advantages are divided by the standard deviation of their ``group``, of the ``batch`` (all
            rewards of the step, each less its group's mean), or by nothing (``none``).
        mask_truncated: Leave responses that were cut off out of the loss (DAPO's overlong filtering, section 3.4);
            they still count in their group's baseline.
        max_resamples: Rollout batches that may be drawn in a step beyond the first, to replace groups whose rewards
            are all equal (DAPO's dynamic sampling).
        accuracy_low: Groups with a smaller share of right answers are left out of the loss, and replaced if
            ``max_resamples`` allows it (MM-Eureka's online filter); they still count in the spread of the batch.
        accuracy_high: The same of groups with a greater share.
        prompt_masking: Share of each prompt's text tokens that are masked, anew in each inner update (d1).
        track_entropy: Log entropy and nucleus size of the policy at response tokens.
        temperature: Of sampling, and of the probabilities in the loss: what was sampled from is what is improved.
        max_new_tokens: Longest response; longer ones are cut and count as such.
        mixture: Cells (names in ``problems.cells``) that prompts come from, each with equal probability; not used by a
            stage that is given its tasks.
        buckets: Of the tasks that a stage is given, only those in these buckets; all if none is named.
        log_every: Rollout metrics are written every so many steps.
    """

    group_size: int = 8
    prompts_per_step: int = 8
    inner_updates: int = 1
    clip_low: float = 0.2
    clip_high: float = 0.2
    ratio_level: str = "token"
    kl_weight: float = 0.0
    kl_target: float = 0.0
    kl_estimator: str = "k3"
    kl_gradient: str = "direct"
    loss_norm: str = "token"
    advantage_scale: str = "group"
    mask_truncated: bool = False
    max_resamples: int = 0
    accuracy_low: float = 0.0
    accuracy_high: float = 1.0
    prompt_masking: float = 0.0
    track_entropy: bool = False
    temperature: float = 1.0
    max_new_tokens: int = 48
    mixture: list[str] = field(default_factory=lambda: ["id"])
    buckets: list[str] = field(default_factory=list[str])
    log_every: int = 1

    def _some_group_fits(self) -> bool:
        """Whether some number of right answers puts a group's share of them in the range."""
        sizes = range(max(self.group_size, 1) + 1)
        return any(self.accuracy_low <= right / sizes[-1] <= self.accuracy_high for right in sizes)

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
            .that(
                self.clip_low <= 1,
                "clip_low",
                f"{self.clip_low} is above 1",
                "ratios are never below 0: give at most 1",
            )
            .one_of("ratio_level", self.ratio_level, RATIO_LEVELS)
            .at_least("kl_weight", self.kl_weight, 0)
            .at_least("kl_target", self.kl_target, 0)
            .that(
                self.kl_target == 0 or self.kl_weight > 0,
                "kl_target",
                "there is no penalty whose weight could be adapted",
                "give kl_weight a value > 0 to start from",
            )
            .one_of("kl_estimator", self.kl_estimator, KL_ESTIMATORS)
            .one_of("kl_gradient", self.kl_gradient, KL_GRADIENTS)
            .one_of("loss_norm", self.loss_norm, LOSS_NORMS)
            .one_of("advantage_scale", self.advantage_scale, ADVANTAGE_SCALES)
            .at_least("max_resamples", self.max_resamples, 0)
            .share("accuracy_low", self.accuracy_low)
            .share("accuracy_high", self.accuracy_high)
            .that(
                self.accuracy_low <= self.accuracy_high,
                "accuracy_low",
                f"{self.accuracy_low} is above accuracy_high = {self.accuracy_high}",
                "give at most accuracy_high",
            )
            .that(
                self.accuracy_low > self.accuracy_high or self._some_group_fits(),
                "accuracy_high",
                f"no group of {self.group_size} has a share of right answers in "
                f"[{self.accuracy_low}, {self.accuracy_high}]",
                "give a wider range",
            )
            .decay("prompt_masking", self.prompt_masking)
            .positive("temperature", self.temperature)
            .at_least("max_new_tokens", self.max_new_tokens, 1)
            .at_least("log_every", self.log_every, 1)
            .that(bool(self.mixture), "mixture", "no cell is named", "name at least one cell, e.g. [id]")
        )


@dataclass(frozen=True)
class RolloutLogprobs:
    """Per-token log-probabilities of sampled responses, each (B, T) float; ``mask`` (B, T) bool names response tokens.

    Attributes:
        policy: Under the policy being trained; carries gradients.
        old: Under the policy that sampled.
        mask: True at response tokens.
        reference: Under the KL reference, or None without a KL term.
        importance: Not log-probabilities but weights of the tokens, see :func:`importance_weights`; None: all are 1.
    """

    policy: Tensor
    old: Tensor
    mask: Tensor
    reference: Tensor | None = None
    importance: Tensor | None = None


def importance_weights(old: Tensor, engine: Tensor, cap: float) -> Tensor:
    """Weights that correct for responses which another engine sampled: ``min(p_old / p_engine, cap)``.

    Args:
        old: (N,) float, log-probabilities of sampled tokens under the trainer's old policy.
        engine: (N,) float, under the engine that sampled.
        cap: The largest weight, > 0.
    """
    return (old - engine).exp().clamp(max=cap)


def grpo_loss(rollout: RolloutLogprobs, advantages: Tensor, options: GRPOOptions) -> Loss:
    """The GRPO objective.

    Args:
        rollout: Log-probabilities of B responses.
        advantages: (B,) float.
        options: ``clip_low``, ``clip_high``, ``ratio_level``, ``loss_norm``, and ``kl_weight``, ``kl_estimator``,
            ``kl_gradient``; what else they say was done before.

    Returns:
        The loss, and means over a response's tokens of: what is held back by clipping (``clip_share``; above and
        below, ``clip_share_high`` and ``clip_share_low``), the ``ratio``, and with a KL term its value ``kl``.

    Raises:
        ValueError: If a KL term is wanted without a reference.
    """
    mask = rollout.mask
    lengths = mask.sum(-1).clamp(min=1)
    ratio = _ratio(rollout, options.ratio_level)
    advantage = advantages[:, None]
    lowest, highest = 1 - options.clip_low, 1 + options.clip_high
    per_token = -torch.minimum(ratio * advantage, ratio.clamp(lowest, highest) * advantage)
    if rollout.importance is not None:
        per_token = torch.where(mask, rollout.importance, torch.zeros_like(ratio)) * per_token
    clipped_high = ((ratio > highest) & (advantage > 0)).float()
    clipped_low = ((ratio < lowest) & (advantage < 0)).float()
    metrics = {
        "clip_share": clipped_high + clipped_low,
        "clip_share_high": clipped_high,
        "clip_share_low": clipped_low,
        "ratio": ratio,
    }
    if options.kl_weight:
        metrics["kl"] = _kl(rollout, options)
        per_token = per_token + options.kl_weight * metrics["kl"]
    per_row = (per_token * mask).sum(-1)
    total = (per_row / lengths if options.loss_norm == "sequence" else per_row).sum()
    means = {name: ((value.detach() * mask).sum(-1) / lengths).sum() for name, value in metrics.items()}
    return Loss([Term(total, _UNITS[options.loss_norm])], means)


def _ratio(rollout: RolloutLogprobs, level: str) -> Tensor:
    """(B, T) float, 1 at masked places, whatever stands there."""
    mask = rollout.mask
    nothing = torch.zeros_like(rollout.policy)
    gap = torch.where(mask, rollout.policy - rollout.old, nothing)
    if level == "sequence":
        mean = gap.sum(-1, keepdim=True) / mask.sum(-1, keepdim=True).clamp(min=1)
        gap = torch.where(mask, mean, nothing)
    return torch.exp(gap)


def _kl(rollout: RolloutLogprobs, options: GRPOOptions) -> Tensor:
    """(B, T) float, 0 at masked places, whatever stands there."""
    if rollout.reference is None:
        raise ValueError("a KL term needs reference log-probabilities")
    nothing = torch.zeros_like(rollout.policy)
    policy, reference, old = (
        torch.where(rollout.mask, logprobs, nothing) for logprobs in (rollout.policy, rollout.reference, rollout.old)
    )
    return kl_penalty(policy, reference, old, options.kl_estimator, options.kl_gradient)
