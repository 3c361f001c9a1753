"""What `${specs_lab.<name>:...}` means in the YAML files."""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib import resources
from importlib.resources.abc import Traversable

from omegaconf import DictConfig, OmegaConf

from specs_lab.cli.search_path import CONFIG_MODULE, place_of
from specs_lab.cli.secrecy import variable
from specs_lab.core.cache import cache_folder

_LONGEST_SLUG = 120
_SEARCHED = ("hydra.searchpath", "command-line")  # what Hydra calls places that a user names
_HIDDEN_GROUPS = ("hydra", "__pycache__")


def slug(text: str) -> str:
    """The text as a part of a file name: other signs become ``-``, and what is too long is cut."""
    return re.sub(r"[^\w.,=+@-]+", "-", str(text))[:_LONGEST_SLUG].strip("-.,") or "default"


def choices(places: Sequence[Traversable] = ()) -> str:
    """All choices of all config groups, with the comment that each YAML file starts with; for a template, so ``$$``.

    Args:
        places: Where YAML files lie besides ``specs_lab.conf``, in the order in which Hydra looks there.
    """
    listed: dict[str, dict[str, str]] = {}
    for place in (resources.files(CONFIG_MODULE), *places):
        for group in place.iterdir():
            if group.is_dir() and group.name not in _HIDDEN_GROUPS:
                listed[group.name] = _commented(group) | listed.get(group.name, {})
    blocks = [
        "\n".join([group, *(f"  {name:<22}{comment}" for name, comment in sorted(files.items()))])
        for group, files in sorted(listed.items())
        if files
    ]
    return "\n".join(blocks).replace("$", "$$")


def _commented(group: Traversable) -> dict[str, str]:
    """The choices in a folder, each with its comment."""
    files = [file for file in group.iterdir() if file.name.endswith(".yaml")]
    return {file.name.removesuffix(".yaml"): top_comment(file) for file in files}


def _choices(_root_: DictConfig) -> str:
    """:func:`choices` of a configuration: with those of its search path."""
    sources = [one for one in _root_.hydra.runtime.config_sources if one.provider.startswith(_SEARCHED)]
    places = [place_of(f"{one['schema']}://{one.path}") for one in sources]
    return choices([place for place in places if place is not None])


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
    OmegaConf.register_new_resolver("specs_lab.choices", _choices, replace=True)
    OmegaConf.register_new_resolver("oc.env", variable, replace=True)
