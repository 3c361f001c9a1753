"""What all options of the group ``model`` share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from specs_lab.core.options import Checks

if TYPE_CHECKING:
    from specs_lab.models.setup import ModelSetup

_DTYPES = ("float32", "bfloat16")
_BACKENDS = ("pil", "torchvision")


@dataclass(kw_only=True)
class ModelOptions(ABC):
    """A base model and how it is set up; see :class:`specs_lab.models.setup.ModelSetup` for what the settings mean.

    Attributes:
        freeze_vision: Whether the vision tower is left as it is.
        freeze_projector: Whether what leads from it to the language model is; null: like the tower.
        dtype: ``float32`` or ``bfloat16``.
        min_pixels: Least pixels of a picture; null: as the checkpoint says.
        max_pixels: Most pixels of a picture; null: as the checkpoint says.
        image_backend: ``pil`` or ``torchvision``.
    """

    freeze_vision: bool = True
    freeze_projector: bool | None = None
    dtype: str = "float32"
    min_pixels: int | None = None
    max_pixels: int | None = None
    image_backend: str = "pil"

    def checks(self) -> Checks:
        """The checks of the shared settings; subclasses add their own and call ``done``."""
        checks = Checks().one_of("dtype", self.dtype, _DTYPES).one_of("image_backend", self.image_backend, _BACKENDS)
        for where in ("min_pixels", "max_pixels"):
            if (value := getattr(self, where)) is not None:
                checks.at_least(where, value, 1)
        if self.min_pixels and self.max_pixels and self.min_pixels > self.max_pixels:
            what = f"{self.min_pixels} is more than max_pixels, {self.max_pixels}"
            checks.that(False, "min_pixels", what, "give less, or raise max_pixels")
        return checks

    def __post_init__(self) -> None:
        self.checks().done()

    @property
    @abstractmethod
    def folder(self) -> Path:
        """The checkpoint folder; what is not on this machine yet is downloaded."""

    def identity(self) -> Mapping[str, Any] | None:
        """What names the model's content for the keys of stages, without reading it; None: the files' hashes do."""
        return None

    def setup(self) -> ModelSetup:
        """The settings that go with the model from stage to stage."""
        from specs_lab.models.setup import ModelSetup  # imports torch, and options are imported by every command

        settings = {field.name: getattr(self, field.name) for field in fields(ModelSetup)}
        if self.freeze_projector is None:
            settings["freeze_projector"] = self.freeze_vision
        return ModelSetup(**settings)
