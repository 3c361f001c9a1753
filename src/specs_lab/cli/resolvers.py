"""What `${specs_lab.<name>:...}` means in the YAML files."""

from __future__ import annotations

import os
import re
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

from omegaconf import OmegaConf

CACHE_VARIABLE = "SPECS_LAB_CACHE"
_LONGEST_SLUG = 120
_HIDDEN_GROUPS = ("hydra", "__pycache__")


def cache_folder() -> str:
    """The folder of finished stages: $SPECS_LAB_CACHE, else ``specs_lab`` in the user's cache folder (XDG)."""
    own = os.environ.get(CACHE_VARIABLE)
    if own:
        return str(Path(own).expanduser())
    shared = os.environ.get("XDG_CACHE_HOME")
    return str((Path(shared) if shared else Path.home() / ".cache") / "specs_lab")


def slug(text: str) -> str:
    """The text as a part of a file name: other signs become ``-``, and what is too long is cut."""
    return re.sub(r"[^\w.,=+@-]+", "-", str(text))[:_LONGEST_SLUG].strip("-.,") or "default"


def choices() -> str:
    """All choices of all config groups, with the comment that each YAML file starts with; for a template, so ``$$``."""
    groups = sorted(resources.files("specs_lab.conf").iterdir(), key=lambda entry: entry.name)
    blocks: list[str] = []
    for group in groups:
        if not group.is_dir() or group.name in _HIDDEN_GROUPS:
            continue
        files = sorted((file for file in group.iterdir() if file.name.endswith(".yaml")), key=lambda file: file.name)
        lines = [f"  {file.name.removesuffix('.yaml'):<22}{top_comment(file)}" for file in files]
        blocks.append("\n".join([group.name, *lines]))
    return "\n".join(blocks).replace("$", "$$")


def top_comment(file: Traversable) -> str:
    """The comment lines that a YAML file starts with, as one line; a Hydra package header is no comment."""
    words: list[str] = []
    for line in file.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        if not line.startswith("# @package"):
            words.append(line.lstrip("# "))
    return " ".join(words)


def register_resolvers() -> None:
    """Makes the resolvers known to OmegaConf; may be called more than once."""
    OmegaConf.register_new_resolver("specs_lab.cache", cache_folder, replace=True)
    OmegaConf.register_new_resolver("specs_lab.slug", slug, replace=True)
    OmegaConf.register_new_resolver("specs_lab.choices", choices, replace=True)
