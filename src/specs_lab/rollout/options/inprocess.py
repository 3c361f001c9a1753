"""Sampling in the training process."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from specs_lab.core.options import option
from specs_lab.rollout.options.base import Rollout

if TYPE_CHECKING:
    from specs_lab.models.vlm import VLM
    from specs_lab.rollout.engines.base import RolloutEngine, Site


@option("rollout", "inprocess")
@dataclass(kw_only=True)
class InProcessRollout(Rollout):
    """The trainer samples from its own weights: no copy of the model, nothing to correct, any strategy."""

    def open(self, vlm: VLM, site: Site) -> RolloutEngine:
        """See the base class."""
        from specs_lab.rollout.engines.inprocess import InProcessEngine

        return InProcessEngine(vlm, site.batch_size)
