"""Settings that every trained stage shares, so that arms differ in the method only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from specs_lab.core.options import Checks

OPTIMIZERS = ("adamw", "adamw_8bit", "paged_adamw_8bit")


@dataclass(kw_only=True)
class OptimiserOptions:
    """AdamW with linear warm-up to a constant learning rate.

    Attributes:
        optimizer: ``adamw``; ``adamw_8bit``, whose states take a quarter of the memory (those of matrices of at least
            4096 weights); or ``paged_adamw_8bit``, whose states can leave a full GPU, and which needs one.
        lr: Learning rate after warm-up.
        steps: Optimizer steps.
        warmup_steps: Optimizer updates of linear warm-up (a step of RL may make several).
        max_grad_norm: Gradients are clipped to this global norm.
        adam_beta1: AdamW's first moment decay.
        adam_beta2: AdamW's second moment decay.
        weight_decay: Decoupled weight decay.
    """

    optimizer: str = "adamw"
    lr: float = 3e-4
    steps: int = 25
    warmup_steps: int = 3
    max_grad_norm: float = 1.0
    adam_beta1: float = 0.9
    adam_beta2: float = 0.99
    weight_decay: float = 0.0

    def checks(self) -> Checks:
        """The checks of the shared settings; subclasses add their own and call ``done``."""
        return (
            Checks()
            .one_of("optimizer", self.optimizer, OPTIMIZERS)
            .positive("lr", self.lr)
            .at_least("steps", self.steps, 1)
            .at_least("warmup_steps", self.warmup_steps, 0)
            .positive("max_grad_norm", self.max_grad_norm)
            .decay("adam_beta1", self.adam_beta1)
            .decay("adam_beta2", self.adam_beta2)
            .at_least("weight_decay", self.weight_decay, 0)
        )

    def __post_init__(self) -> None:
        self.checks().done()


@dataclass(kw_only=True)
class ColdStartOptions(OptimiserOptions):
    """What all cold starts share.

    Attributes:
        batch_size: Pairs (or, for SFT, their chosen sides) in one optimizer step.
        eval_every: The model is evaluated on every cell at step 0, after every so many steps, and at the end.
    """

    needs_rejected: ClassVar[bool] = False
    """Whether the loss compares two sides."""

    batch_size: int = 16
    eval_every: int = 5

    def checks(self) -> Checks:
        """The checks of the shared settings."""
        return super().checks().at_least("batch_size", self.batch_size, 1).at_least("eval_every", self.eval_every, 1)
