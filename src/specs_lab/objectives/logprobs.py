"""Log-probabilities of given tokens straight from hidden states, without ever holding all logits.

``log p(y_t) = z_t[y_t] - logsumexp(z_t)`` with ``z_t = W h_t / temperature``. With a vocabulary of 152 k, the logits
of 16 responses of 512 tokens are 5 GB in float32; here they exist for one chunk of positions at a time, in the forward
and again in the backward pass, whose gradients are written down by hand::

    dL/dz_t = g_t (onehot(y_t) - softmax(z_t)),    dL/dh_t = W^T dL/dz_t / temperature

Entropy and nucleus size come from the same logits. Everything from the logits on is float32 (float64 stays).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor

NUCLEUS = 0.95
"""Probability mass of the nucleus that the rollout branching factor counts (SPECS, arXiv 2510.25801)."""
DIRECT_UP_TO = 1 << 22
"""Logits that are simply kept for the backward pass: 16 MiB in float32."""
CHUNK = {"cpu": 1 << 24, "cuda": 1 << 28}
"""Logits in one chunk beyond that: 64 MiB in float32; 1 GiB on a GPU, where each chunk's pass over the weight costs."""


@dataclass(frozen=True)
class TokenStatistics:
    """Of N given tokens.

    Attributes:
        logprobs: (N,) float, log-probability of each token; carries gradients.
        entropy: (N,) float, entropy in nats of the distribution the token was one of; None unless asked for.
        nucleus: (N,) int64, how many tokens make up 95 % of that distribution's mass; None unless asked for.
    """

    logprobs: Tensor
    entropy: Tensor | None = None
    nucleus: Tensor | None = None


@dataclass(frozen=True)
class TokenLogprobs:
    """Statistics of tokens laid out row by row.

    Attributes:
        logprobs: (B, L) float32, zero where ``mask`` is False; L is the longest completion.
        mask: (B, L) bool, True at completion tokens.
        entropy: (B, L) float32, entropy in nats of the next-token distribution, zero where masked; None unless asked.
        nucleus: (B, L) float32, tokens in that distribution's 95 % nucleus, zero where masked; None unless asked.
    """

    logprobs: Tensor
    mask: Tensor
    entropy: Tensor | None = None
    nucleus: Tensor | None = None


def by_row(found: TokenStatistics, lengths: Tensor) -> TokenLogprobs:
    """Lays out the statistics of N tokens as rows of (B,) ``lengths``, which add up to N."""
    mask = torch.arange(int(lengths.max()), device=lengths.device)[None] < lengths[:, None]

    def laid_out(values: Tensor) -> Tensor:
        room = torch.zeros(mask.shape, dtype=found.logprobs.dtype, device=mask.device)
        return room.masked_scatter(mask, values.to(room.dtype))

    entropy, nucleus = (None if x is None else laid_out(x) for x in (found.entropy, found.nucleus))
    return TokenLogprobs(laid_out(found.logprobs), mask, entropy, nucleus)


def token_statistics(
    hidden: Tensor,
    weight: Tensor,
    targets: Tensor,
    *,
    temperature: float = 1.0,
    spread: bool = False,
    direct_up_to: int = DIRECT_UP_TO,
    chunk: int | None = None,
) -> TokenStatistics:
    """Log-probabilities of tokens, and how spread out their distributions are.

    Args:
        hidden: (N, hidden) float, the state that predicts each token.
        weight: (V, hidden) float, the output layer.
        targets: (N,) int64.
        temperature: Logits are divided by it, > 0.
        spread: Also give entropy and nucleus size (without gradients).
        direct_up_to: Up to so many logits (N x V) autograd keeps them; beyond, they are made again in chunks.
        chunk: Logits in one chunk; None: as :data:`CHUNK` has it for the device.
    """
    if len(targets) * len(weight) <= direct_up_to:
        return statistics_of_logits(hidden @ weight.T, targets, temperature=temperature, spread=spread)
    rows = max(1, (chunk or CHUNK.get(hidden.device.type, CHUNK["cpu"])) // len(weight))
    chunked: Any = _Chunked  # autograd's `apply` has no types
    logprobs, entropy, nucleus = cast(
        "tuple[Tensor, Tensor, Tensor]", chunked.apply(hidden, weight, targets, temperature, spread, rows)
    )
    return TokenStatistics(logprobs, entropy if spread else None, nucleus if spread else None)


def statistics_of_logits(
    logits: Tensor, targets: Tensor, *, temperature: float = 1.0, spread: bool = False
) -> TokenStatistics:
    """As :func:`token_statistics`, from (N, V) logits that are there already."""
    logits = _tempered(logits, temperature)
    logsumexp = logits.logsumexp(dim=-1)
    picked = logits.gather(1, targets[:, None])[:, 0] - logsumexp
    entropy, nucleus = _spread(logits.detach(), logsumexp.detach()) if spread else (None, None)
    return TokenStatistics(picked, entropy, nucleus)


def _logits(hidden: Tensor, weight: Tensor, temperature: float) -> Tensor:
    return _tempered(hidden @ weight.T, temperature)


def _tempered(logits: Tensor, temperature: float) -> Tensor:
    if logits.dtype in (torch.float16, torch.bfloat16):
        logits = logits.float()
    return logits if temperature == 1.0 else logits / temperature


def _spread(logits: Tensor, logsumexp: Tensor) -> tuple[Tensor, Tensor]:
    logprobs = logits - logsumexp[:, None]
    probabilities = logprobs.exp()
    entropy = -(probabilities * logprobs).sum(dim=-1)  # logsumexp - sum(p z) would cancel
    return entropy, nucleus_size(probabilities)


def nucleus_size(probabilities: Tensor, mass: float = NUCLEUS) -> Tensor:
    """The least number of tokens whose probabilities add up to ``mass``: (N, V) -> (N,) int64.

    Example:
        (0.6, 0.3, 0.06, 0.04) has 0.9 in two tokens and 0.96 in three: 3.
    """
    mass_before = probabilities.sort(dim=-1, descending=True).values.cumsum(dim=-1)
    return (mass_before < mass).sum(dim=-1).clamp(max=probabilities.shape[-1] - 1) + 1


class _Chunked(torch.autograd.Function):
    """(hidden, weight) -> log-probabilities, entropy, nucleus size; logits of ``rows`` positions at a time."""

    @staticmethod
    def forward(  # pyright: ignore[reportIncompatibleMethodOverride] - the arguments are this function's own
        ctx: Any, hidden: Tensor, weight: Tensor, targets: Tensor, temperature: float, spread: bool, rows: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Keeps hidden states, weight and one number a position, not the logits."""
        picked: list[Tensor] = []
        sums: list[Tensor] = []
        spreads: list[tuple[Tensor, Tensor]] = []
        for start in range(0, len(targets), rows):
            part = slice(start, start + rows)
            logits = _logits(hidden[part], weight, temperature)
            logsumexp = logits.logsumexp(dim=-1)
            picked.append(logits.gather(1, targets[part, None])[:, 0] - logsumexp)
            sums.append(logsumexp)
            if spread:
                spreads.append(_spread(logits, logsumexp))
        ctx.save_for_backward(hidden, weight, targets, torch.cat(sums))
        ctx.temperature, ctx.rows = temperature, rows
        nothing = torch.empty(0, device=hidden.device)
        entropy, nucleus = map(torch.cat, zip(*spreads, strict=True)) if spread else (nothing, nothing.long())
        ctx.mark_non_differentiable(entropy, nucleus)
        return torch.cat(picked), entropy, nucleus

    @staticmethod
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride] - one gradient an output
        ctx: Any, gradient: Tensor, *_: Tensor
    ) -> tuple[Tensor | None, Tensor | None, None, None, None, None]:
        """Makes the logits again, chunk by chunk; the weight's gradient is summed in float32."""
        hidden, weight, targets, sums = ctx.saved_tensors
        wants_hidden, wants_weight = ctx.needs_input_grad[:2]
        of_hidden = torch.empty_like(hidden) if wants_hidden else None
        # Rounding each chunk's share to bfloat16 before summing would bias the training.
        of_weight = torch.zeros(weight.shape, dtype=sums.dtype, device=weight.device) if wants_weight else None
        for start in range(0, len(targets), ctx.rows):
            part = slice(start, start + ctx.rows)
            logits = _logits(hidden[part], weight, ctx.temperature)
            scaled = gradient[part, None] / ctx.temperature
            of_logits = torch.exp(logits.sub_(sums[part, None])).mul_(-scaled)
            of_logits.scatter_add_(1, targets[part, None], scaled)
            if of_hidden is not None:
                of_hidden[part] = of_logits.to(weight.dtype) @ weight
            if of_weight is not None:
                _add_outer(of_weight, of_logits, hidden[part])
        return of_hidden, None if of_weight is None else of_weight.to(weight.dtype), None, None, None, None


def _add_outer(total: Tensor, left: Tensor, right: Tensor) -> None:
    """``total += left^T right``, in float32 also where the factors are halves (on CUDA by the matrix units)."""
    if right.is_cuda and right.dtype in (torch.float16, torch.bfloat16):
        total += torch.mm(left.to(right.dtype).T, right, out_dtype=torch.float32)  # pyright: ignore
    else:
        total.addmm_(left.T, right.to(left.dtype))
