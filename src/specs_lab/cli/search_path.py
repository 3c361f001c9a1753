"""Further places of YAML files, which ``hydra.searchpath=[pkg://my_lab.conf]`` on the command line names.

Hydra looks into them after ``specs_lab.conf``. It only warns of a place that does not exist, and says nothing of a file
that is never read because specs_lab has one of the same name; here both are faults.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

from specs_lab.core.errors import Fault

CONFIG_MODULE = "specs_lab.conf"
SEARCH_PATH = "hydra.searchpath"
_FIX = "name packages of YAML files (each with an __init__.py) or folders, e.g. [pkg://my_lab.conf] or [file://conf]"


def place_of(name: str) -> Traversable | None:
    """The place that ``pkg://<package>``, ``file://<folder>`` or ``<folder>`` names; None if it is not there."""
    scheme, is_url, rest = name.partition("://")
    if is_url and scheme == "pkg":
        try:
            package = resources.files(rest.replace("/", ".").rstrip("."))
        except (ModuleNotFoundError, TypeError, ValueError):  # what `files` raises where there is no package
            return None
        return package if (package / "__init__.py").is_file() else None
    folder = Path(rest if is_url else name)
    return folder if (not is_url or scheme == "file") and folder.is_dir() else None


def search_path_faults(value: object) -> list[Fault]:
    """What is wrong with the value of an override of the search path."""
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        return [Fault(SEARCH_PATH, f"'{value}' is no list of places", _FIX)]
    faults: list[Fault] = []
    own = set(_choices(resources.files(CONFIG_MODULE)))
    for name in value:
        place = place_of(name)
        if place is None:
            faults.append(Fault(SEARCH_PATH, f"there is no '{name}'", _FIX))
            continue
        for choice in sorted(own & set(_choices(place))):
            what = f"'{choice}.yaml' in '{name}' is never read: specs_lab has one of this name"
            faults.append(
                Fault(SEARCH_PATH, what, "give it a name of its own; it may start from the other by defaults")
            )
    return faults


def _choices(folder: Traversable, group: str = "") -> Iterator[str]:
    """The YAML files in the groups of a place, as ``group/name``."""
    for entry in folder.iterdir():
        if entry.is_dir():
            yield from _choices(entry, f"{group}{entry.name}/")
        elif group and entry.name.endswith(".yaml"):
            yield group + entry.name.removesuffix(".yaml")
