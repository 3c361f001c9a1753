"""Rejection sampling from the model itself: the data of expert iteration (arXiv 2403.04642) and of OpenVLThinker."""

from __future__ import annotations

from dataclasses import dataclass, field

from specs_lab.core.options import option
from specs_lab.data.consistency.base import Consistency
from specs_lab.data.consistency.unchecked import Unchecked
from specs_lab.data.constructions.base import NONE
from specs_lab.data.distilling import Distillation
from specs_lab.data.teachers.base import Teacher
from specs_lab.data.teachers.model import ModelTeacher


@option("data", "rejection_sampling")
@dataclass(kw_only=True)
class RejectionSampling(Distillation):
    """Right responses of the model ``self``, for SFT: no check but the answer, and no rejected side."""

    chosen_samples: int = 4
    consistency: Consistency = field(default_factory=Unchecked)
    rejected_form: str = NONE

    def author(self) -> Teacher:
        """The model as it is in this round."""
        return ModelTeacher(model="self")
