"""What sampling means, whoever does it: settings, results, and the random numbers behind each response."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from specs_lab.core.seeding import numpy_rng


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How responses are drawn.

    Attributes:
        temperature: 0 is greedy.
        max_new_tokens: Longest response, the end token included.
    """

    temperature: float = 1.0
    max_new_tokens: int = 48


@dataclass(frozen=True)
class Completion:
    """A sampled response.

    Attributes:
        token_ids: The response, including the end token if there is one.
        logprobs: Log-probability of each token under the sampling model, at the temperature of sampling (greedy: 1).
        truncated: Whether the response was cut at ``max_new_tokens`` before it ended.
    """

    token_ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    truncated: bool


def uniforms(key: str, count: int) -> np.ndarray:
    """The random numbers of one response, (count,) float64 in [0, 1): one for each token.

    They depend on the key only, so a response does not depend on what else is in the batch, and two models asked
    under the same keys are compared with common random numbers.
    """
    return numpy_rng("sample", key).random(count)


def pick(logits: Tensor, temperature: float, uniform: Tensor) -> Tensor:
    """The next token of each row, by inversion of the cumulative distribution.

    Args:
        logits: (B, V) float.
        temperature: 0 is greedy.
        uniform: (B,) float64 in [0, 1).

    Returns:
        (B,) int64.
    """
    if temperature == 0:
        return logits.argmax(dim=-1)
    cumulative = torch.softmax(logits.double() / temperature, dim=-1).cumsum(dim=-1)
    target = uniform[:, None] * cumulative[:, -1:]  # the sum may miss 1 by rounding
    # right=True: the first index whose cumulative mass exceeds the target, hence never a token of probability zero
    return torch.searchsorted(cumulative, target, right=True)[:, 0].clamp(max=logits.shape[-1] - 1)
