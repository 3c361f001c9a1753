"""What sampling means, whoever does it: settings, results, and the random numbers behind each response."""

from __future__ import annotations

from collections.abc import Sequence
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
        top_p: Only the likeliest tokens that together have this share of the mass are drawn (nucleus sampling, arXiv
            1904.09751), at least one; 1: all. Greedy decoding takes no notice of it.

    Raises:
        ValueError: If ``top_p`` is not in (0, 1].
    """

    temperature: float = 1.0
    max_new_tokens: int = 48
    top_p: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.top_p <= 1:
            raise ValueError(f"top_p must be in (0, 1], not {self.top_p}")


@dataclass(frozen=True)
class Completion:
    """A sampled response.

    Attributes:
        token_ids: The response, including the end token if there is one.
        logprobs: Log-probability of each token under the sampling model, at the temperature of sampling (greedy: 1).
            Of the model's whole distribution, also where only a nucleus of it was drawn from.
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


def random_numbers(names: Sequence[str], count: int) -> Tensor:
    """The random numbers of several responses, (responses, count) float64."""
    return torch.from_numpy(np.stack([uniforms(name, count) for name in names]))


def pick(weights: Tensor, uniform: Tensor) -> Tensor:
    """Draws an index from each row, by inversion of the cumulative distribution.

    Args:
        weights: (B, V) float, not negative, not all zero; need not add up to 1.
        uniform: (B,) float64 in [0, 1).

    Returns:
        (B,) int64; never an index of weight zero.
    """
    cumulative = weights.cumsum(dim=-1, dtype=torch.float64)
    total = cumulative[:, -1:]
    # Below the total, whatever rounding does: what reaches it lies behind the last index that has any weight.
    target = torch.minimum(uniform[:, None] * total, torch.nextafter(total, torch.zeros_like(total)))
    # right=True: the first index whose cumulative weight exceeds the target, hence never one of weight zero
    picked = torch.searchsorted(cumulative, target, right=True)[:, 0]
    # Weights that are no numbers, as of a broken model, would lead past the end; its log-probabilities show what it is.
    return picked.clamp_(max=weights.shape[-1] - 1)


def nucleus(weights: Tensor, top_p: float) -> Tensor:
    """The weights of the likeliest tokens that together have a share of all weight; the others become zero.

    A token belongs to them if those before it, from the largest weight on, do not reach the share; of equal weights the
    first comes first. So there is always one.

    Args:
        weights: (B, V) float, not negative, not all zero.
        top_p: The share, in (0, 1).
    """
    ordered, places = weights.sort(dim=-1, descending=True, stable=True)
    up_to = ordered.cumsum(dim=-1, dtype=torch.float64)
    outside = up_to - ordered >= top_p * up_to[:, -1:]
    return weights.masked_fill(torch.zeros_like(outside).scatter_(1, places, outside), 0.0)


def choose(
    logits: Tensor, temperature: float, uniform: Tensor, never: Tensor, top_p: float = 1.0
) -> tuple[Tensor, Tensor]:
    """Next tokens and their log-probabilities under the model, (B,) each.

    Args:
        logits: (B, V) float.
        temperature: 0 is greedy.
        uniform: (B,) float64 in [0, 1).
        never: (K,) int64, tokens that are not to be chosen, such as the placeholders of pictures. The
            log-probabilities are those of the model with all its tokens, as the training forward pass computes them.
        top_p: See :class:`Sampling`; a share of what is left without the tokens ``never`` chosen.
    """
    if temperature == 0:
        logprobs = torch.log_softmax(logits, dim=-1)
        tokens = logits.index_fill(1, never, -torch.inf).argmax(dim=-1)
    else:
        logprobs = torch.log_softmax(logits / temperature, dim=-1)
        weights = logprobs.exp().index_fill_(1, never, 0.0)
        tokens = pick(weights if top_p == 1 else nucleus(weights, top_p), uniform)
    return tokens, logprobs.gather(1, tokens[:, None])[:, 0]


class Transcript:
    """What has been sampled so far; it stays where the model is, and writing to it waits for nothing.

    Args:
        count: Responses.
        width: Longest response.
        pad_id: What stands behind the end of a response.
        device: Where the model is.
    """

    def __init__(self, count: int, width: int, pad_id: int, device: torch.device) -> None:
        self._tokens = torch.full((count, width), pad_id, device=device)
        self._logprobs = torch.zeros((count, width), device=device)
        self._lengths = torch.zeros(count, dtype=torch.long, device=device)

    def write(self, step: int, places: Tensor, tokens: Tensor, logprobs: Tensor, alive: Tensor) -> None:
        """Adds the token of step ``step`` to the responses at ``places``, as far as they are ``alive``."""
        self._tokens[places, step] = torch.where(alive, tokens, self._tokens[places, step])
        self._logprobs[places, step] = torch.where(alive, logprobs, 0.0).to(self._logprobs.dtype)
        self._lengths[places] += alive

    def completions(self, end_ids: Sequence[int]) -> list[Completion]:
        """The responses; those that no end token ends were cut."""
        rows = zip(self._tokens.tolist(), self._logprobs.tolist(), self._lengths.tolist(), strict=True)
        return [
            Completion(tuple(tokens[:length]), tuple(logprobs[:length]), truncated=tokens[length - 1] not in end_ids)
            for tokens, logprobs, length in rows
        ]
