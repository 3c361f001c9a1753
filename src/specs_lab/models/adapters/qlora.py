"""QLoRA (arXiv 2305.14314): LoRA on a language model whose linear layers are held in four bits (NF4)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from specs_lab.core.options import Checks, option
from specs_lab.models.adapters.lora import LoraAdapter

if TYPE_CHECKING:
    from specs_lab.models.holding import Holding
    from specs_lab.models.setup import ModelSetup

_COMPUTE = ("float32", "bfloat16")


@option("adapter", "qlora")
@dataclass(kw_only=True)
class QLoraAdapter(LoraAdapter):
    """LoRA on four-bit weights. The vision tower, projector, embeddings and output layer keep their precision.

    The reference policy is the quantised model, and so is what the adapter is merged into.

    Attributes:
        double_quant: Quantise the blocks' scales too.
        compute_dtype: What quantised layers compute in: ``float32`` or ``bfloat16``; null: the model's type.
    """

    double_quant: bool = True
    compute_dtype: str | None = None

    def checks(self) -> Checks:
        """LoRA's checks and its own."""
        return super().checks().one_of("compute_dtype", self.compute_dtype or _COMPUTE[0], _COMPUTE)

    def holding(self, setup: ModelSetup) -> Holding:
        """NF4, made from the weights in the model's type of numbers."""
        from specs_lab.models.holding import Holding

        computes = self.compute_dtype or setup.dtype
        return Holding(dtype=setup.dtype, four_bit=True, double_quant=self.double_quant, computes=computes)
