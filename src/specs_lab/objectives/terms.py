"""Terms of a loss and how they are normalised: by counts over the *whole* optimizer step, in one place.

An objective returns sums over the rows of a micro-batch; the trainer divides by the count over the global batch (all
micro-batches, all ranks). A mean of per-micro-batch means would weight tokens by how rows happen to be split.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from torch import Tensor

Unit = Literal["token", "sequence", "capacity"]
"""What a term is divided by: the number of response tokens, of responses (or pairs), or of tokens that the responses
could have had, that is responses x longest response allowed: a constant of the run (Dr. GRPO, arXiv 2503.20783)."""


@dataclass(frozen=True)
class Term:
    """One additive part of a loss.

    Attributes:
        total: Scalar, the sum over a micro-batch's units; with unit ``capacity`` the sum over its tokens.
        unit: Decides the count that the sum is divided by.
        weight: Factor of this term in the loss.
    """

    total: Tensor
    unit: Unit
    weight: float = 1.0


@dataclass(frozen=True)
class Loss:
    """What an objective returns for one micro-batch.

    Attributes:
        terms: Parts of the loss.
        metrics: Detached scalars, each the sum over the micro-batch's sequences (the trainer divides by the number of
            sequences that were forwarded).
    """

    terms: Sequence[Term]
    metrics: Mapping[str, Tensor] = field(default_factory=dict[str, Tensor])

    def normalised(self, counts: Mapping[Unit, float]) -> Tensor:
        """The scalar to back-propagate: sum of weight * total / count.

        Args:
            counts: How many there are of each unit in the whole optimizer step; units that no term uses may be left
                out. A count of zero means that there is nothing to learn from, and its terms contribute zero.
        """
        parts = [term.weight * term.total / max(counts[term.unit], 1.0) for term in self.terms]
        return sum(parts[1:], start=parts[0])
