"""Typed options: a dataclass per choice of a config group, known to Hydra as its schema.

``@option("coldstart", "dpo")`` above a keyword-only dataclass makes ``conf/coldstart/dpo.yaml`` possible, whose
defaults list starts with ``/schema/coldstart@_here_: dpo``. The composed config is turned back into these dataclasses,
so a wrong name, type or value is found before any work starts.
"""

from __future__ import annotations

import importlib
import pkgutil
import traceback
from collections.abc import Callable
from dataclasses import is_dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import TypeVar, get_type_hints

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING, DictConfig, OmegaConf

from specs_lab.core.errors import Fault, raise_faults

C = TypeVar("C", bound=type)

OPTION_PACKAGES = (
    "specs_lab.objectives",
    "specs_lab.rewards.terms",
    "specs_lab.problems.sources",
    "specs_lab.data.constructions",
    "specs_lab.data.consistency",
    "specs_lab.data.selections",
    "specs_lab.data.teachers",
    "specs_lab.models.sources",
    "specs_lab.models.adapters",
    "specs_lab.evaluation.suites",
    "specs_lab.evaluation.judges",
    "specs_lab.rollout.options",
    "specs_lab.training.options",
    "specs_lab.tracking.options",
    "specs_lab.stages.options",
    "specs_lab.pretraining.options",
)
"""Packages whose modules register options. They are imported by every command, so they stay light: torch at most."""

PLUGINS = "specs_lab.plugins"
"""The group of entry points by which other packages add options, problem families and the like: each names a module
that registers them when it is imported. Their YAML files are found by ``hydra.searchpath=[pkg://<package>.conf]``."""

OPERATIONAL = {"operational": True}
"""``metadata`` of an option's field that says where or how fast things are done and changes no result: it enters no
stage's key."""

_OPTIONS: dict[tuple[str, str], type] = {}


def option(group: str, name: str) -> Callable[[C], C]:
    """Class decorator that registers a dataclass as the schema of a choice of a config group.

    Args:
        group: The config group, e.g. ``"coldstart"``.
        name: The choice's name; also the name of its YAML file.

    Raises:
        TypeError: If the class is no dataclass.
        ValueError: If the choice is registered twice.
    """

    def register(cls: C) -> C:
        kind: type = cls
        if not is_dataclass(kind):
            raise TypeError(f"{kind} must be a dataclass to be an option")
        if (group, name) in _OPTIONS:
            raise ValueError(f"option {group}={name} is registered twice")
        _OPTIONS[group, name] = kind
        ConfigStore.instance().store(group=f"schema/{group}", name=name, node=_schema(kind), provider="specs_lab")
        return cls

    return register


def _schema(kind: type) -> DictConfig:
    """What Hydra knows of an option: its fields, without the defaults of those that are choices of another group.

    Otherwise such a field could hold no other choice than its default: nodes turn into subclasses only.
    """
    schema: DictConfig = OmegaConf.structured(kind)
    for name, hint in get_type_hints(kind).items():
        if is_dataclass(hint) and OmegaConf.get_type(schema, name) not in (None, hint):
            schema[name] = MISSING
    return schema


def discover_options() -> dict[tuple[str, str], type]:
    """Imports every module that may register options, plugins last; returns {(group, name): dataclass}.

    Raises:
        UserError: If plugins cannot be imported; names all of them.
    """
    for name in OPTION_PACKAGES:
        package = importlib.import_module(name)
        for module in pkgutil.iter_modules(getattr(package, "__path__", [])):
            importlib.import_module(f"{name}.{module.name}")
    raise_faults([fault for fault in map(_fault_of, _plugins()) if fault is not None])
    return dict(_OPTIONS)


def plugin_modules() -> list[str]:
    """The top packages of installed plugins, whose code may change results."""
    return sorted({plugin.module.partition(".")[0] for plugin in _plugins()})


@cache  # what is installed is taken not to change while a process runs
def _plugins() -> tuple[EntryPoint, ...]:
    return tuple(entry_points(group=PLUGINS))


@cache  # asked a second time, a module that failed half-way would only complain that its own options are taken
def _fault_of(plugin: EntryPoint) -> Fault | None:
    """Imports a plugin; what went wrong, or None."""
    try:
        importlib.import_module(plugin.module)
    except Exception as error:  # of any kind: the code is another's, and who installed it must learn which it is
        said = f"{type(error).__name__}: {' '.join(str(error).split())}"
        package = "its package" if plugin.dist is None else f"the package '{plugin.dist.name}'"
        return Fault(
            f"plugin {plugin.name}",
            f"'{plugin.value}' cannot be imported: {said}{_place(plugin, error)}",
            f"repair it (what it registers needs names that are free), or uninstall {package}",
        )
    return None


def _place(plugin: EntryPoint, error: Exception) -> str:
    """Where in the plugin's code an error comes from, if it can be told."""
    top = plugin.value.partition(":")[0].partition(".")[0]
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if top in (Path(frame.filename).stem, *Path(frame.filename).parts)]
    return f" ({own[-1].filename}, line {own[-1].lineno})" if own else ""


class InvalidOption(ValueError):
    """Raised by an option's ``__post_init__``; carries all faults of that option, with ``where`` relative to it."""

    def __init__(self, faults: list[Fault]) -> None:
        self.faults = tuple(faults)
        super().__init__("; ".join(str(fault) for fault in faults))


class Checks:
    """Collects the faults of one option; used in ``__post_init__``.

    Example:
        ``Checks().positive("lr", self.lr).at_least("steps", self.steps, 1).done()``
    """

    def __init__(self) -> None:
        self._faults: list[Fault] = []

    def that(self, holds: bool, where: str, what: str, fix: str) -> Checks:
        """Adds a fault unless ``holds``."""
        if not holds:
            self._faults.append(Fault(where, what, fix))
        return self

    def positive(self, where: str, value: float) -> Checks:
        """The value must be > 0."""
        return self.that(value > 0, where, f"{value} is not positive", "give a number > 0")

    def at_least(self, where: str, value: float, least: float) -> Checks:
        """The value must be >= ``least``."""
        return self.that(value >= least, where, f"{value} is less than {least}", f"give a number >= {least}")

    def share(self, where: str, value: float) -> Checks:
        """The value must be in [0, 1]."""
        return self.that(0 <= value <= 1, where, f"{value} is not in [0, 1]", "give a share between 0 and 1")

    def decay(self, where: str, value: float) -> Checks:
        """The value must be in [0, 1)."""
        return self.that(0 <= value < 1, where, f"{value} is not in [0, 1)", "give a number >= 0 and < 1")

    def one_of(self, where: str, value: str, known: tuple[str, ...]) -> Checks:
        """The value must be one of the known names."""
        return self.that(value in known, where, f"there is no '{value}'", f"choose one of: {', '.join(known)}")

    def done(self) -> None:
        """Raises what was collected.

        Raises:
            InvalidOption: If there is any fault.
        """
        if self._faults:
            raise InvalidOption(self._faults)
