"""Pairs whose chosen sides a teacher wrote: a solver, another checkpoint, or a model behind an endpoint."""

from __future__ import annotations

from dataclasses import dataclass, field

from specs_lab.core.options import option
from specs_lab.data.distilling import Distillation
from specs_lab.data.teachers.base import Teacher
from specs_lab.data.teachers.model import ModelTeacher


@option("data", "teacher_distill")
@dataclass(kw_only=True)
class TeacherDistill(Distillation):
    """Chosen sides from a teacher (SPECS' ablation with 32B and 72B teachers; "distilled CoT" of arXiv 2505.22334).

    Attributes:
        teacher: A choice of the group ``teacher``.
    """

    teacher: Teacher = field(default_factory=ModelTeacher)

    def author(self) -> Teacher:
        """The teacher."""
        return self.teacher
