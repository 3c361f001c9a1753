"""LoRA (arXiv 2106.09685): a frozen matrix W learns by a product of two thin ones, W + alpha / rank * B A."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from specs_lab.core.options import Checks, option
from specs_lab.models.adapters.base import Adapter

if TYPE_CHECKING:
    from specs_lab.models.holding import Holding
    from specs_lab.models.setup import ModelSetup
    from specs_lab.models.vlm import VLM

LANGUAGE = "language"
"""Stands for all linear layers of the language model but its output layer."""
INITS = ("kaiming", "gaussian")
"""Ways to draw A; B starts at zero, so that the adapter changes nothing at first and switched off is the reference."""


@option("adapter", "lora")
@dataclass(kw_only=True)
class LoraAdapter(Adapter):
    """LoRA on frozen weights.

    Attributes:
        rank: Columns of B, rows of A.
        alpha: The product is scaled by ``alpha / rank``.
        dropout: Share of the adapter's inputs dropped in training passes; sampling and references drop none. With
            dropout the policy that RL trains is not quite the one that it sampled from.
        targets: ``[language]``, or names of linear layers, such as ``[q_proj, v_proj]``.
        include_vision: Also the vision tower's linear layers (with names: those of these names). Needs a tower that is
            not frozen.
        rslora: Scale by ``alpha / sqrt(rank)`` instead (arXiv 2312.03732).
        init: How A is drawn: ``kaiming`` or ``gaussian``.
    """

    decomposes: ClassVar[bool] = False
    """Whether magnitude and direction learn apart (DoRA)."""

    rank: int = 16
    alpha: int = 32
    dropout: float = 0.0
    targets: list[str] = field(default_factory=lambda: [LANGUAGE])
    include_vision: bool = False
    rslora: bool = False
    init: str = "kaiming"

    def checks(self) -> Checks:
        """The checks of the shared settings; subclasses add their own and call ``done``."""
        several = LANGUAGE in self.targets and len(self.targets) > 1
        return (
            Checks()
            .at_least("rank", self.rank, 1)
            .positive("alpha", self.alpha)
            .decay("dropout", self.dropout)
            .that(bool(self.targets), "targets", "there are none", f"give [{LANGUAGE}] or names of linear layers")
            .that(not several, "targets", f"'{LANGUAGE}' stands for all of them", "leave the other names out")
            .one_of("init", self.init, INITS)
        )

    def __post_init__(self) -> None:
        self.checks().done()

    def holding(self, setup: ModelSetup) -> Holding:
        """In the model's type of numbers."""
        from specs_lab.models.holding import Holding

        return Holding(dtype=setup.dtype)

    def attach(self, vlm: VLM, seed: int) -> None:
        """Freezes the model and puts fresh adapters on its linear layers."""
        from specs_lab.models.adapting import attach_lora  # imports PEFT

        attach_lora(vlm, self, seed)
