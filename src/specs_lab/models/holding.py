"""How the weights below an adapter are held, which decides what it is merged into."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from specs_lab.models.setup import DTYPES


@dataclass(frozen=True, kw_only=True)
class Holding:
    """The form of frozen weights.

    Attributes:
        dtype: Their type of numbers, ``float32`` or ``bfloat16``; four-bit ones are made from it.
        four_bit: The linear layers of the language model are held in NF4.
        double_quant: Its scales are quantised too.
        computes: The type of numbers that four-bit weights are unpacked to.
    """

    dtype: str = "float32"
    four_bit: bool = False
    double_quant: bool = False
    computes: str = "float32"

    @property
    def torch_dtype(self) -> torch.dtype:
        """The type of numbers."""
        return DTYPES[self.dtype]

    @property
    def torch_computes(self) -> torch.dtype:
        """What four-bit weights are unpacked to."""
        return DTYPES[self.computes]


def set_types(model: Any, frozen: torch.dtype, learning: torch.dtype = torch.float32) -> None:
    """Casts parameters: those that learn, and those that do not. Quantised ones stay as they are."""
    for parameter in model.parameters():
        if parameter.is_floating_point():
            parameter.data = parameter.data.to(learning if parameter.requires_grad else frozen)
