"""Where things are written to: nothing is overwritten, and what appears is complete."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from specs_lab.core.errors import Fault, UserError


def check_free(target: Path) -> None:
    """Makes sure that nothing would be overwritten.

    Raises:
        UserError: If there is a file, or a folder with anything in it.
    """
    if target.is_dir() and any(target.iterdir()):
        raise UserError([Fault("--to", f"{target} is not empty", "name a new folder, or empty this one")])
    if target.exists() and not target.is_dir():
        raise UserError([Fault("--to", f"{target} exists already", "name another place, or remove it")])


@contextmanager
def appearing(target: Path) -> Iterator[Path]:
    """Gives the place of a draft beside the target, which becomes the target by one rename at the end.

    Args:
        target: A file or folder that is not there yet, or an empty folder.

    Raises:
        UserError: If there is something already.
    """
    check_free(target)
    whole = target.absolute()
    whole.parent.mkdir(parents=True, exist_ok=True)
    draft = whole.with_name(f".{whole.name}.{uuid.uuid4().hex[:8]}")
    try:
        yield draft
        os.replace(draft, whole)
    finally:
        if draft.is_dir():
            shutil.rmtree(draft)
        else:
            draft.unlink(missing_ok=True)
