"""Stage `base`: the model that a study starts from."""

from __future__ import annotations

import shutil

from specs_lab.stages.context import StageContext


def run(context: StageContext) -> None:
    """Copies the checkpoint, so that the artifact does not change when the folder it came from does."""
    model = context.options["model"]
    shutil.copytree(model.folder, context.folder / "model")
    model.setup().write(context.folder)
