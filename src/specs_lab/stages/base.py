"""Stage `base`: the model that a study starts from."""

from __future__ import annotations

import errno
import json
import os
import shutil
from pathlib import Path

from specs_lab.stages.context import StageContext

_READ = {".safetensors", ".json", ".txt", ".model", ".jinja", ".md"}
"""Endings of the files of a checkpoint that are read: weights, settings, tokenizer, chat template, card."""
_WHOLE, _INDEX = "model.safetensors", "model.safetensors.index.json"
_CANNOT_LINK = {errno.EXDEV, errno.EPERM, errno.EACCES, errno.EMLINK, errno.EOPNOTSUPP, errno.ENOSYS}
"""Another disk, no links on this one, or another owner's file."""


def run(context: StageContext) -> None:
    """Takes the checkpoint over, so that the artifact does not change when the folder it came from does.

    What a commit of the hub names never changes, so its files are linked to where they can be and take no room twice.
    """
    model = context.options["model"]
    target = context.folder / "model"
    target.mkdir()
    for file in checkpoint_files(model.folder):
        _take_over(file, target / file.name, link=model.identity() is not None)
    model.setup().write(context.folder)


def checkpoint_files(folder: Path) -> list[Path]:
    """The files of a checkpoint folder that are read.

    Left out are weights in other formats or of other shards, states of optimizers, and folders, such as those of
    version control and of conversions.
    """
    files = [path for path in sorted(folder.iterdir()) if path.is_file() and path.suffix in _READ]
    weights = {path.name for path in files if path.suffix == ".safetensors"}
    if _WHOLE in weights:  # the order in which transformers looks for them
        weights = {_WHOLE}
    elif (folder / _INDEX).is_file():
        weights = set(json.loads((folder / _INDEX).read_text(encoding="utf-8"))["weight_map"].values())
    return [path for path in files if path.suffix != ".safetensors" or path.name in weights]


def _take_over(source: Path, target: Path, *, link: bool) -> None:
    if link:
        try:
            os.link(source.resolve(), target)
        except OSError as error:
            if error.errno not in _CANNOT_LINK:
                raise
        else:
            return
    shutil.copyfile(source, target)
