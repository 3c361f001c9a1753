"""No adapter: every weight learns that the model's options do not freeze."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from specs_lab.core.options import option
from specs_lab.models.adapters.base import Adapter

if TYPE_CHECKING:
    from specs_lab.models.holding import Holding
    from specs_lab.models.setup import ModelSetup
    from specs_lab.models.vlm import VLM


@option("adapter", "full")
@dataclass(kw_only=True)
class FullAdapter(Adapter):
    """Full fine-tuning."""

    @property
    def trains_all(self) -> bool:
        """Yes."""
        return True

    def holding(self, setup: ModelSetup) -> Holding:
        """The weights of the language model learn, so they are float32."""
        from specs_lab.models.holding import Holding

        del setup
        return Holding()

    def attach(self, vlm: VLM, seed: int) -> None:
        """Only sets types of numbers."""
        from specs_lab.models.holding import set_types

        del seed
        set_types(vlm.core, vlm.setup.torch_dtype)
