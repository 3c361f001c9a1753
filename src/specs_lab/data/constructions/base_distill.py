"""Pairs both of whose sides the base model wrote: SPECS' ablation of the source of its chosen sides."""

from __future__ import annotations

from dataclasses import dataclass

from specs_lab.core.options import option
from specs_lab.data.distilling import Distillation
from specs_lab.data.teachers.base import Teacher
from specs_lab.data.teachers.model import ModelTeacher


@option("data", "base_distill")
@dataclass(kw_only=True)
class BaseDistill(Distillation):
    """Chosen sides from the base model; where it misses the format, its form is completed."""

    def author(self) -> Teacher:
        """The base model."""
        return ModelTeacher(model="base")
