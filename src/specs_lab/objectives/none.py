"""No cold start: the recipe's cold-start stage hands on the base model."""

from __future__ import annotations

from dataclasses import dataclass

from specs_lab.core.options import option


@option("coldstart", "none")
@dataclass(kw_only=True)
class NoColdStart:
    """RL starts from the base model."""
