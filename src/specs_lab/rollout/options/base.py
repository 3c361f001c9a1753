"""What all options of the group ``rollout`` share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from specs_lab.core.errors import Fault

if TYPE_CHECKING:  # options are imported by every command, so they import nothing heavy
    from specs_lab.models.vlm import VLM
    from specs_lab.rollout.engines.base import RolloutEngine, Site


@dataclass(kw_only=True)
class Rollout(ABC):
    """Decides who samples the responses that RL learns from."""

    @abstractmethod
    def open(self, vlm: VLM, site: Site) -> RolloutEngine:
        """An engine for a training; nothing is started before it is first synchronised.

        Args:
            vlm: The policy.
            site: Where the engine works.

        Raises:
            UserError: If it cannot serve this policy, or this training.
        """

    def misfits(self, options: Mapping[str, Any]) -> list[Fault]:
        """What does not fit with the other options of a stage, by role."""
        del options
        return []
