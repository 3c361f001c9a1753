"""Sampling by a vLLM server on the trainer's own GPU: one sleeps while the other works."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from specs_lab.core.errors import Fault
from specs_lab.core.options import OPERATIONAL, Checks, option
from specs_lab.models.adapters.lora import LoraAdapter
from specs_lab.rollout.options.vllm import VllmRollout


@option("rollout", "vllm_colocated")
@dataclass(kw_only=True)
class VllmColocatedRollout(VllmRollout):
    """As ``vllm``, but the server gives its memory back while the policy learns.

    Attributes:
        sleep_level: 1: its weights wait in the main memory. 2: they are dropped, and loaded again when it wakes.
    """

    memory_share: float = field(default=0.5, metadata=OPERATIONAL)
    sleep_level: int = field(default=2, metadata=OPERATIONAL)

    def checks(self) -> Checks:
        """The checks of all settings."""
        return (
            super()
            .checks()
            .that(self.sleep_level in (1, 2), "sleep_level", f"there is no level {self.sleep_level}", "give 1 or 2")
            .that(
                self.ahead == 0,
                "ahead",
                "the server sleeps while the policy learns",
                "set ahead=0, or choose rollout=vllm",
            )
        )

    def misfits(self, options: Mapping[str, Any]) -> list[Fault]:
        """Also an adapter whose base would be gone after sleep."""
        faults = super().misfits(options)
        if self.sleep_level == 2 and isinstance(options.get("adapter"), LoraAdapter):
            what = "the weights below the adapter would be dropped, and only the adapter is handed over again"
            faults.append(Fault("rollout.sleep_level", what, "give 1"))
        return faults
