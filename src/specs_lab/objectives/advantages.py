"""From rewards to advantages: how much better a response is than the others to the same prompt.

Centred by the group's mean, and divided by ``group``: the group's standard deviation (GRPO, arXiv 2402.03300, section
4.1.2); ``none``: nothing (Dr. GRPO, arXiv 2503.20783); ``batch``: the standard deviation of all centred rewards of the
batch (REINFORCE++ with baseline, arXiv 2501.03262).

Deviations: GRPO does not say which standard deviation it means; it is the unbiased one here, plus 1e-4, as in TRL.
REINFORCE++ also subtracts the batch's mean, which is 0 here after centring by groups, and its authors' code (OpenRLHF)
takes both over the batch's tokens, that is weighted by length, where each response counts once here. TRL's
``scale_rewards="batch"`` is something else: the standard deviation of the rewards before centring.
"""

from __future__ import annotations

import torch
from torch import Tensor

ADVANTAGE_SCALES = ("group", "none", "batch")
_EPSILON = 1e-4


def group_advantages(rewards: Tensor, scale: str = "group") -> Tensor:
    """How much better each response is than its group.

    Args:
        rewards: (prompts, group) float; of the whole batch, since ``batch`` divides by its standard deviation.
        scale: One of ``ADVANTAGE_SCALES``.

    Returns:
        (prompts, group) float; exactly zero in groups whose rewards are all equal.

    Example:
        Rewards (0, 1) and (0, 3), centred: (-0.5, 0.5) and (-1.5, 1.5). ``group`` divides by 0.7071 + 1e-4 and
        2.1213 + 1e-4: 0.7070 and 0.7071. ``batch`` divides both by sqrt(5 / 3) + 1e-4: 0.3873 and 1.1618.

    Raises:
        ValueError: If there is no such scale.
    """
    centred = rewards - rewards.mean(dim=1, keepdim=True)
    centred = torch.where(zero_variance(rewards)[:, None], torch.zeros_like(centred), centred)
    if scale == "group":
        return centred / (rewards.std(dim=1, keepdim=True) + _EPSILON)
    if scale == "batch":
        return centred / (centred.std() + _EPSILON)
    if scale != "none":
        raise ValueError(f"there is no scale '{scale}'; choose one of: {', '.join(ADVANTAGE_SCALES)}")
    return centred


def zero_variance(rewards: Tensor) -> Tensor:
    """Which groups teach nothing because all their rewards are equal: (prompts, group) -> (prompts,) bool."""
    return rewards.amax(dim=1) == rewards.amin(dim=1)
