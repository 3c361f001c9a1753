"""The suite that generalisation is measured on: sampled responses on every cell of shift."""

from __future__ import annotations

from dataclasses import dataclass, field

from specs_lab.core.options import Checks, option


@option("suite", "cells")
@dataclass(kw_only=True)
class CellsSuite:
    """Sampled evaluation of cells.

    Attributes:
        cells: Which cells to evaluate.
        n: Problems a cell; a multiple of the number of families weights them equally.
        temperature: Of sampling; 0 is greedy, which hides the mixture of formats.
        max_new_tokens: Longest response.
        gf_id: The cell that stands for in-distribution in the Generalization Factor.
        gf_ood: The cell that stands for out-of-distribution.
        gf_beta: The factor's beta.
    """

    cells: list[str] = field(default_factory=list)
    n: int = 126
    temperature: float = 1.0
    max_new_tokens: int = 48
    gf_id: str = "id"
    gf_ood: str = "ood"
    gf_beta: float = 2.0

    def __post_init__(self) -> None:
        checks = (
            Checks()
            .at_least("n", self.n, 1)
            .at_least("temperature", self.temperature, 0)
            .at_least("max_new_tokens", self.max_new_tokens, 1)
            .positive("gf_beta", self.gf_beta)
        )
        for where in ("gf_id", "gf_ood"):
            cell = getattr(self, where)
            checks.that(cell in self.cells, where, f"'{cell}' is not evaluated", f"choose one of: {self.cells}")
        checks.done()
