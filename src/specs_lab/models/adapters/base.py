"""What all options of the group ``adapter`` share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # options are imported by every command, so they import nothing heavy
    from specs_lab.models.holding import Holding
    from specs_lab.models.setup import ModelSetup
    from specs_lab.models.vlm import VLM


@dataclass(kw_only=True)
class Adapter(ABC):
    """Decides which weights learn, and in which form the others are held."""

    @property
    def trains_all(self) -> bool:
        """Whether the weights of the model itself learn."""
        return False

    @abstractmethod
    def holding(self, setup: ModelSetup) -> Holding:
        """How the weights of the language model that a stage starts from are held."""

    @abstractmethod
    def attach(self, vlm: VLM, seed: int) -> None:
        """Makes a model ready for training, in place; what it says does not change by that.

        Afterwards the weights that learn are float32, and the others in the model's type, or as :meth:`holding` says.

        Args:
            vlm: The model, on the CPU; in float32 if its own weights are to learn.
            seed: Of the adapter's initial weights.

        Raises:
            UserError: If the options do not fit the model.
        """
