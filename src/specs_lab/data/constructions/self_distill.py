"""Self-distilled preference pairs (SPECS, arXiv 2510.25801): chosen from the zero model, rejected from the base."""

from __future__ import annotations

from dataclasses import dataclass

from specs_lab.core.options import option
from specs_lab.data.distilling import Distillation
from specs_lab.data.teachers.base import Teacher
from specs_lab.data.teachers.model import ModelTeacher


@option("data", "self_distill")
@dataclass(kw_only=True)
class SelfDistill(Distillation):
    """Chosen sides from the model ``self`` of the recipe's stage: in SPECS, the zero model."""

    def author(self) -> Teacher:
        """The model that is distilled."""
        return ModelTeacher(model="self")
