"""Random batches, and naive twins of the objectives' building blocks: plain loops over Python floats."""

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor


@dataclass(frozen=True)
class Batch:
    """Log-probabilities as a model gives them: (B, T) float64, zero where ``mask`` is False."""

    policy: Tensor
    old: Tensor
    reference: Tensor
    mask: Tensor
    advantages: Tensor

    def rows(self, which: Tensor) -> list[list[float]]:
        """The response tokens of each row, as lists of floats."""
        return [row[keep].tolist() for row, keep in zip(which, self.mask, strict=True)]

    @property
    def counts(self) -> dict:
        """Of all units; responses may have 7 tokens."""
        count = float(len(self.mask))
        return {"token": float(self.mask.sum()), "sequence": count, "capacity": count * 7}


@pytest.fixture
def batch() -> Batch:
    """Six responses of 0 to 5 tokens; the second is a single token, the third is empty."""
    generator = torch.Generator().manual_seed(0)
    lengths = torch.tensor([5, 1, 0, 3, 2, 4])
    mask = torch.arange(5)[None] < lengths[:, None]

    def draw(scale: float) -> Tensor:
        return torch.randn(mask.shape, generator=generator, dtype=torch.float64) * scale

    old = -draw(1.0).abs() - 0.1
    policy, reference = old + draw(0.3), old + draw(0.3)
    advantages = torch.randn(len(lengths), generator=generator, dtype=torch.float64)
    return Batch(policy * mask, old * mask, reference * mask, mask, advantages)
