"""What memory depends on beside the shape of a model: how it is held, what goes through it at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from specs_lab.preflight.shapes import Layers

FLOAT = 4
"""Bytes of a float32."""


@dataclass(frozen=True, kw_only=True)
class Adapter:
    """What is trained in place of all weights.

    Attributes:
        rank: Rank of the two factors beside each matrix of the language model's layers.
        dora: Whether magnitudes are trained too.
        four_bit: Whether the frozen matrices are kept in four bits.
    """

    rank: int
    dora: bool = False
    four_bit: bool = False

    def parameters(self, layers: Layers) -> int:
        """Of the adapter."""
        return sum(self.rank * (o + i) + (o if self.dora else 0) for o, i in layers.matrices)


@dataclass(frozen=True, kw_only=True)
class Setup:
    """How a model is held.

    Attributes:
        device: ``cpu`` or ``cuda``.
        half: Whether what does not learn is bfloat16, and so is what is computed.
        train_vision: Whether the vision tower learns.
        adapter: What is trained; None for all weights.
        optimiser: A key of :data:`specs_lab.preflight.memory.ADAM_BYTES`.
        checkpointing: Whether activations within layers are made again.
        copied_reference: Whether a frozen copy of the model is held.
        feature_cache: Most bytes of picture features that are kept; 0 for none.
    """

    device: str = "cpu"
    half: bool = False
    train_vision: bool = False
    adapter: Adapter | None = None
    optimiser: str = "adamw"
    checkpointing: bool = False
    copied_reference: bool = False
    feature_cache: int = 0

    @property
    def element(self) -> int:
        """Bytes of a number that is computed."""
        return 2 if self.half else FLOAT


@dataclass(frozen=True, kw_only=True)
class Pass:
    """The largest micro-batch of a step.

    Attributes:
        prompts: Prompts in it.
        prompt_tokens: Tokens of each, those of pictures included.
        branches: Completions behind each.
        completion_tokens: Tokens of each.
        patches: Patches of the pictures of each prompt, before they are merged.
        alone: Whether it is the only one of its step: then gradients and activations are not at their most at once.
        shared: Whether completions share their prompt.
    """

    prompts: int
    prompt_tokens: int
    branches: int
    completion_tokens: int
    patches: int = 0
    alone: bool = True
    shared: bool = True

    @classmethod
    def within(
        cls,
        limit: int,
        prompts: int,
        prompt_tokens: int,
        branches: int,
        completion_tokens: int,
        patches: int = 0,
        *,
        whole: bool = True,
        shared: bool = True,
    ) -> Pass:
        """The largest pass of a step under a limit of tokens, as :mod:`specs_lab.models.micro_batches` fills it.

        Args:
            limit: Most tokens in one pass.
            prompts: Prompts of the step.
            prompt_tokens: Tokens of each.
            branches: Completions behind each.
            completion_tokens: Tokens of each.
            patches: Patches of each prompt's pictures.
            whole: Whether the completions of a prompt stay together (sides of a pair), also beyond the limit.
            shared: Whether completions share their prompt.
        """
        own = prompt_tokens + branches * completion_tokens
        if not shared:
            own = branches * (prompt_tokens + completion_tokens)
        fit = min(prompts, max(1, limit // own))
        if own > limit and not whole:
            room = limit - prompt_tokens if shared else limit
            each = completion_tokens if shared else prompt_tokens + completion_tokens
            branches = min(branches, max(1, room // each))
        return cls(
            prompts=fit,
            prompt_tokens=prompt_tokens,
            branches=branches,
            completion_tokens=completion_tokens,
            patches=patches,
            alone=fit == prompts and own * prompts <= max(limit, own),
            shared=shared,
        )

    @property
    def fed(self) -> int:
        """Tokens of a completion that go through the model: nothing is asked of the last."""
        return max(0, self.completion_tokens - 1)

    @property
    def tokens(self) -> int:
        """Tokens that go through the layers."""
        if self.shared:
            return self.prompts * (self.prompt_tokens + self.branches * self.fed)
        return self.prompts * self.branches * (self.prompt_tokens + self.completion_tokens)

    @property
    def predicted(self) -> int:
        """Tokens whose log-probability is asked for."""
        return self.prompts * self.branches * self.completion_tokens


@dataclass(frozen=True, kw_only=True)
class Decoding:
    """Sampling at its largest.

    Attributes:
        rows: Responses side by side.
        prompts: Prompts behind them.
        prompt_tokens: Tokens of each.
        new_tokens: Longest response.
        patches: Patches of each prompt's pictures.
    """

    rows: int
    prompts: int
    prompt_tokens: int
    new_tokens: int
    patches: int = 0


@dataclass(frozen=True)
class Estimate:
    """Bytes by what they are for.

    Attributes:
        held: What is there all the time.
        training: What a training pass adds at its peak.
        sampling: What sampling adds at its peak; gradients of the last step are among it.
    """

    held: Mapping[str, int] = field(default_factory=dict)
    training: Mapping[str, int] = field(default_factory=dict)
    sampling: Mapping[str, int] = field(default_factory=dict)

    @property
    def certain(self) -> int:
        """What there must be room for whatever the batch: what is held."""
        return sum(self.held.values())

    @property
    def peak(self) -> int:
        """The most at once."""
        return self.certain + max(sum(self.training.values()), sum(self.sampling.values()))

    @property
    def parts(self) -> dict[str, int]:
        """What makes up the peak."""
        trains = sum(self.training.values()) >= sum(self.sampling.values())
        return {**self.held, **(self.training if trains else self.sampling)}
