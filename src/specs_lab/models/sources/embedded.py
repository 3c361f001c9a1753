"""The shipped base checkpoints, and checkpoint folders of one's own."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from specs_lab.core.options import Checks, option
from specs_lab.models.sources.base import ModelOptions

_NEEDED = {
    "configuration": "config.json",
    "safetensors weights": "*.safetensors",
    "tokenizer": "tokenizer*.json",
    "processor": "*processor_config.json",
}
"""What a checkpoint folder must hold, as file patterns."""

CHECKPOINTS = Path(__file__).parents[2] / "checkpoints"


@option("model", "embedded")
@dataclass(kw_only=True)
class EmbeddedModel(ModelOptions):
    """A tiny VLM of the Qwen2.5-VL architecture that the package ships.

    Attributes:
        size: Name of the size.
        base_seed: Which of the independently trained base checkpoints.
    """

    size: str = "small"
    base_seed: int = 0

    def checks(self) -> Checks:
        """The checks of all settings."""
        shipped = sorted(path.name for path in CHECKPOINTS.glob("*-*") if path.is_dir())
        name = f"{self.size}-{self.base_seed}"
        return (
            super()
            .checks()
            .that(
                name in shipped, "base_seed", f"no checkpoint '{name}' is shipped", f"shipped are: {', '.join(shipped)}"
            )
        )

    @property
    def folder(self) -> Path:
        """The checkpoint folder."""
        return CHECKPOINTS / f"{self.size}-{self.base_seed}"


@option("model", "folder")
@dataclass(kw_only=True)
class FolderModel(ModelOptions):
    """A checkpoint folder of one's own, of any supported family.

    Attributes:
        path: The folder: safetensors weights, config, tokenizer, processor and chat template.
    """

    path: str = "???"

    def checks(self) -> Checks:
        """The checks of all settings."""
        checks = super().checks()
        folder = Path(self.path)
        for what, pattern in _NEEDED.items():
            there = any(folder.glob(pattern))
            checks.that(there, "path", f"'{self.path}' has no {what} ({pattern})", "give a complete checkpoint folder")
        return checks

    @property
    def folder(self) -> Path:
        """The checkpoint folder."""
        return Path(self.path)
