"""Where things are kept that can be made again."""

from __future__ import annotations

import os
from pathlib import Path

CACHE_VARIABLE = "SPECS_LAB_CACHE"


def cache_folder() -> str:
    """The folder of finished stages: $SPECS_LAB_CACHE, else ``specs_lab`` in the user's cache folder (XDG)."""
    own = os.environ.get(CACHE_VARIABLE)
    if own:
        return str(Path(own).expanduser())
    shared = os.environ.get("XDG_CACHE_HOME")
    return str((Path(shared) if shared else Path.home() / ".cache") / "specs_lab")
