"""Penalties for leaving the reference: estimates of KL(p || q) at one token, and their gradients.

For log-probabilities p of the policy and q of the reference, of a token that was sampled:

- ``k1 = p - q``: unbiased under the policy, of either sign.
- ``k2 = (p - q)^2 / 2``: biased, but small where p and q are close.
- ``k3 = exp(q - p) - (q - p) - 1``: unbiased under the policy, never negative (GRPO, arXiv 2402.03300, eq. 4).

An unbiased value does not make an unbiased gradient (arXiv 2506.09477, 2510.01555), since the tokens' distribution
depends on the policy too. Over tokens of the policy itself, the expected derivative of k1 is zero, that of k3 is the
gradient of KL(q || p), the other direction, and only that of k2, ``(p - q) grad p``, is the gradient of KL(p || q).
Over tokens of an older policy none is.

``gradient="direct"`` differentiates the estimate: GRPO's way, and that of REINFORCE++ (arXiv 2501.03262) with k2.
``gradient="unbiased"`` gives ``r (p - q) grad p`` for each of the estimates, with ``r = exp(p - old)``: its expectation
over tokens of the policy that sampled is the gradient of KL(p || q). A related form is ``r * k3`` differentiated
through the ratio too (DeepSeek-V3.2, arXiv 2512.02556; TRL's ``use_bias_correction_kl``): the same value and the same
gradient as k3 here, because ``d(r k3)/dp = r (k3 + 1 - exp(q - p)) = r (p - q)``.

Deviation from 2506.09477: the gradient is that of the KL of each token given the tokens before it. That a token also
decides which tokens can follow, and how often prefixes of the older policy would be the policy's, is left out, as in
all of the methods above.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def k1(policy: Tensor, reference: Tensor) -> Tensor:
    """The log-ratio: log-probabilities of any one shape to estimates of that shape, in nats."""
    return policy - reference


def k2(policy: Tensor, reference: Tensor) -> Tensor:
    """Half the squared log-ratio; shapes as :func:`k1`."""
    return (policy - reference).square() / 2


def k3(policy: Tensor, reference: Tensor) -> Tensor:
    """The log-ratio with a control variate; shapes as :func:`k1`."""
    gap = reference - policy
    return torch.expm1(gap) - gap  # exp(gap) - gap - 1 cancels for small gaps, down to negative values


_ESTIMATORS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"k1": k1, "k2": k2, "k3": k3}
KL_ESTIMATORS = tuple(_ESTIMATORS)
KL_GRADIENTS = ("direct", "unbiased")


def kl_penalty(policy: Tensor, reference: Tensor, old: Tensor, estimator: str, gradient: str) -> Tensor:
    """The penalty of each token.

    Args:
        policy: Any shape, float, log-probabilities under the policy; carries gradients.
        reference: The same under the reference. Places that do not count must hold equal finite numbers in all
            three: they then get exactly 0, with a gradient of 0 (but for k1 ``direct``, whose gradient is 1).
        old: The same under the policy that sampled; not looked at with ``direct``.
        estimator: ``k1``, ``k2`` or ``k3``.
        gradient: ``direct``: the estimate, differentiated as it stands. ``unbiased``: the estimate times r in value,
            ``r (p - q) grad p`` in gradient, r held constant.

    Returns:
        As ``policy``, in nats.

    Example:
        p = -1, q = -3, old = p: k1 = 2, k2 = 2, k3 = exp(-2) + 2 - 1 = 1.1353; derivatives by p: ``direct`` 1, 2 and
        1 - exp(-2) = 0.8647, ``unbiased`` 2 for each. With old = p - ln 2, ``unbiased`` doubles values and gradients.

    Raises:
        ValueError: If there is no such estimator or gradient.
    """
    if estimator not in KL_ESTIMATORS or gradient not in KL_GRADIENTS:
        raise ValueError(f"there is no '{gradient}' '{estimator}'; choose of {KL_GRADIENTS} and {KL_ESTIMATORS}")
    estimate = _ESTIMATORS[estimator]
    if gradient == "direct":
        return estimate(policy, reference)
    fixed = policy.detach()
    ratio = torch.exp(fixed - old)
    # The last factor is zero in value and carries the gradient.
    return ratio * estimate(fixed, reference) + ratio * (fixed - reference) * (policy - fixed)


_STRONGEST, _GAIN = 0.2, 0.1


def adapted_weight(weight: float, kl: float, target: float) -> float:
    """The penalty's weight after an update (arXiv 1909.08593, section 2.2): larger where the KL is above its target.

    ``weight * (1 + 0.1 * clip(kl / target - 1, -0.2, 0.2))``.

    Args:
        weight: The weight of the update.
        kl: The KL that the update measured, in nats a token.
        target: What it should be, > 0.

    Example:
        A KL of twice the target raises a weight of 1 to 1.02.
    """
    error = kl / target - 1
    return weight * (1 + _GAIN * min(max(error, -_STRONGEST), _STRONGEST))
