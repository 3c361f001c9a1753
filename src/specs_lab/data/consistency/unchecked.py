"""No check: every response is kept, as in SPECS' ablation without its judge."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from specs_lab.core.options import option
from specs_lab.data.consistency.base import Consistency, Said
from specs_lab.data.workshop import Workshop


@option("consistency", "none")
@dataclass(kw_only=True)
class Unchecked(Consistency):
    """Keeps everything."""

    def keep(self, said: Sequence[Said], shop: Workshop) -> list[bool]:
        """All of them."""
        return [True] * len(said)
