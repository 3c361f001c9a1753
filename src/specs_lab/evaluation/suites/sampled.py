"""The settings that exploration is measured with: many responses to each problem."""

from __future__ import annotations

from dataclasses import dataclass, field

from specs_lab.core.options import Checks, option
from specs_lab.metrics.passk import powers_of_two


@option("exploration", "samples")
@dataclass(kw_only=True)
class SampledSuite:
    """Many responses to each problem of some cells. Temperature and ``top_p`` as in arXiv 2504.13837.

    Attributes:
        cells: Which cells.
        n: Problems a cell; the first ones of what ``evaluate`` measures.
        samples: Responses to each problem.
        ks: For pass@k and maj@k; none: 1, 2, 4, ... up to ``samples``, at most 256.
        temperature: Of sampling.
        top_p: Only the likeliest tokens that make up this share of the mass are drawn.
        max_new_tokens: Longest response.
        spread_samples: How many of the responses to a problem are scored for branching factor and entropy, which are
            those of the whole distribution at temperature 1; 0: neither is measured.
        group_size: Responses in a group of RL, for how often a group is all correct or all wrong.
    """

    cells: list[str] = field(default_factory=lambda: ["id", "ood"])
    n: int = 36
    samples: int = 64
    ks: list[int] = field(default_factory=list)
    temperature: float = 0.6
    top_p: float = 0.95
    max_new_tokens: int = 48
    spread_samples: int = 4
    group_size: int = 8

    def __post_init__(self) -> None:
        checks = (
            Checks()
            .that(bool(self.cells), "cells", "is empty", "name at least one cell of the problems")
            .at_least("n", self.n, 1)
            .at_least("samples", self.samples, 1)
            .positive("temperature", self.temperature)
            .that(0 < self.top_p <= 1, "top_p", f"{self.top_p} is not in (0, 1]", "give a share above 0, up to 1")
            .at_least("max_new_tokens", self.max_new_tokens, 1)
            .at_least("group_size", self.group_size, 2)
        )
        for where, value in [("spread_samples", self.spread_samples), *(("ks", k) for k in self.ks)]:
            least = 1 if where == "ks" else 0
            what = f"{value} is not in {least} to {self.samples}, the number of samples"
            checks.that(least <= value <= self.samples, where, what, "give less, or sample more")
        checks.done()

    def measured_ks(self) -> list[int]:
        """The k that are measured, in order."""
        return sorted(set(self.ks)) or powers_of_two(self.samples)
