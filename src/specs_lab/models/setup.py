"""How a model is loaded and which of its parts may learn: settings that go with a model from stage to stage."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

FILE = "setup.json"
"""Beside the folder of the model, in every artifact that holds one."""
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
IMAGE_BACKENDS = ("pil", "torchvision")


@dataclass(frozen=True, kw_only=True)
class ModelSetup:
    """Settings of a model that are not in its checkpoint.

    Attributes:
        freeze_vision: The vision tower does not learn.
        freeze_projector: What leads from the tower to the language model does not learn. If both are frozen, picture
            features are computed once.
        dtype: Of weights that do not learn, and of what is computed; those that learn are float32 all the same.
        min_pixels: Smaller pictures are scaled up to this many pixels; None: as the checkpoint says.
        max_pixels: Larger pictures are scaled down to this many pixels; None: as the checkpoint says.
        image_backend: What scales pictures: ``pil``, the same everywhere, or ``torchvision``, faster where it is.
    """

    freeze_vision: bool = True
    freeze_projector: bool = True
    dtype: str = "float32"
    min_pixels: int | None = None
    max_pixels: int | None = None
    image_backend: str = "pil"

    @property
    def torch_dtype(self) -> torch.dtype:
        """The type of numbers."""
        return DTYPES[self.dtype]

    def write(self, artifact: Path) -> None:
        """Writes the settings into an artifact."""
        (artifact / FILE).write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, artifact: Path) -> ModelSetup:
        """The settings in an artifact."""
        return cls(**json.loads((artifact / FILE).read_text(encoding="utf-8")))
