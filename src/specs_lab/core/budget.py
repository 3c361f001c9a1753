"""What a result cost, so that arms can be compared at equal compute as well as at equal steps."""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass

FORWARD_FLOPS = 2
"""Multiply-adds count two: a forward pass costs 2 FLOPs a parameter and token (arXiv 2001.08361, sec. 2.1)."""
BACKWARD_FLOPS = 4
"""The backward pass costs twice the forward pass."""
FROZEN_BACKWARD_FLOPS = 2
"""Half of that for weights that do not learn: the gradient goes through them, and they need none themselves."""


@dataclass
class Budget:
    """Running totals of a stage; evaluation is not counted.

    Attributes:
        parameters: Parameters that a token passes through: the language model with its output layer, which counts for
            prompt tokens too, though it is only run on completions. Attention over the context and the vision tower,
            which is run once a picture, are left out.
        frozen: How many of them do not learn, as below an adapter.
        tokens: Tokens that training, reference and sampling passes have to encode: no padding, and a prompt once for
            all its completions in the same pass, as both sides of a pair or the responses of a group share it.
        flops: Estimated floating-point operations, 2 or 6 times parameters x tokens (4 times for frozen ones).
        generated_tokens: Tokens sampled.
        seconds: Wall time of the counted work.
    """

    parameters: int = 0
    frozen: int = 0
    tokens: int = 0
    flops: float = 0.0
    generated_tokens: int = 0
    seconds: float = 0.0

    def forward(self, tokens: int) -> None:
        """Counts a pass without gradients over this many tokens."""
        self.tokens += tokens
        self.flops += FORWARD_FLOPS * self.parameters * tokens

    def train(self, tokens: int) -> None:
        """Counts a forward and a backward pass over this many tokens."""
        self.tokens += tokens
        saved = (BACKWARD_FLOPS - FROZEN_BACKWARD_FLOPS) * self.frozen
        self.flops += ((FORWARD_FLOPS + BACKWARD_FLOPS) * self.parameters - saved) * tokens

    def sample(self, prompt_tokens: int, generated_tokens: int) -> None:
        """Counts a rollout: prompts are forwarded once, every generated token once."""
        self.forward(prompt_tokens + generated_tokens)
        self.generated_tokens += generated_tokens

    @contextmanager
    def clock(self) -> Generator[None]:
        """Adds the wall time spent inside."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds += time.perf_counter() - start
