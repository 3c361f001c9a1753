"""Consistency by rule: the reasoning must end in the answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from specs_lab.core.options import option
from specs_lab.data.consistency.base import Consistency, Said
from specs_lab.data.text import consistent
from specs_lab.data.workshop import Workshop, terms


@option("consistency", "agreement")
@dataclass(kw_only=True)
class Agreement(Consistency):
    """See :func:`specs_lab.data.text.consistent`; stands in for the judge of SPECS, which is a model."""

    def keep(self, said: Sequence[Said], shop: Workshop) -> list[bool]:
        """Whether each reasoning ends in its answer."""
        return [consistent(*one.parts, one.task.problem.answer_type, terms(one.task)) for one in said]
