"""Composing the configuration outside of Hydra's own run: for the preflight, for tests and for notebooks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml
from hydra import compose, initialize_config_module
from hydra._internal.hydra import Hydra
from hydra.core.config_search_path import SearchPathQuery
from hydra.core.global_hydra import GlobalHydra
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from specs_lab.cli.launcher import register_launcher
from specs_lab.cli.resolvers import register_resolvers
from specs_lab.cli.search_path import CONFIG_MODULE
from specs_lab.core.options import discover_options

CONFIG_NAME = "config"
VERSION_BASE = "1.3"

# What Hydra raises on a configuration that it cannot compose; it uses ValueError for a group choice of a wrong type.
CompositionError = (HydraException, OmegaConfBaseException, ValueError, yaml.YAMLError)


def prepare() -> None:
    """Makes options, resolvers and the launcher known to Hydra; may be called more than once."""
    discover_options()
    register_resolvers()
    register_launcher()


@dataclass
class Composer:
    """Composes configurations, each list of overrides once.

    Attributes:
        config_name: Name of the primary configuration.
        search_path: The override that says where else YAML files lie (``hydra.searchpath=[…]``), if any: each
            configuration is composed under it, and choices are looked up there.
    """

    config_name: str = CONFIG_NAME
    search_path: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self._known: dict[tuple[str, ...], DictConfig | Exception] = {}

    def compose(self, overrides: Sequence[str]) -> DictConfig:
        """The configuration under some overrides, with its ``hydra`` node; do not change it.

        Raises:
            CompositionError: One of these, if it cannot be composed.
        """
        key = tuple(overrides)
        if key not in self._known:
            try:
                self._known[key] = compose(self.config_name, [*self.search_path, *overrides], return_hydra_config=True)
            except CompositionError as error:
                self._known[key] = error
        known = self._known[key]
        if isinstance(known, Exception):
            raise known
        return known

    def parse(self, override: str) -> Override:
        """One override, parsed.

        Raises:
            OverrideParseException: If it is not written as Hydra wants it.
        """
        parser = OverridesParser.create(config_loader=GlobalHydra.instance().config_loader())
        return parser.parse_overrides([override])[0]  # unlike `parse_override`, knows the choices that glob(*) means

    def groups(self) -> list[str]:
        """The config groups that a user chooses from."""
        found = GlobalHydra.instance().config_loader().list_groups("")
        return [name for name in found if name not in ("schema", "hydra")]

    def choices(self, group: str) -> list[str]:
        """The choices of a config group; empty if there is no such group."""
        loader = GlobalHydra.instance().config_loader()
        return loader.get_group_options(group, ObjectType.CONFIG, self.config_name, list(self.search_path))


@contextmanager
def composer(config_name: str = CONFIG_NAME, config_dir: Path | None = None) -> Iterator[Composer]:
    """Gives a :class:`Composer`; Hydra's global state is as before afterwards.

    Args:
        config_name: Name of the primary configuration.
        config_dir: A further folder of YAML files (Hydra's ``--config-dir``), or None.

    Raises:
        UserError: If a plugin cannot be imported.
    """
    prepare()
    with initialize_config_module(CONFIG_MODULE, version_base=VERSION_BASE):
        if config_dir is not None:
            _add_folder(config_dir.resolve())
        yield Composer(config_name)


def _add_folder(folder: Path) -> None:
    """Puts a folder into the search path as Hydra's own run does; the one of an override comes after it."""
    search_path = GlobalHydra.instance().config_loader().get_search_path()
    search_path.prepend("command-line", f"file://{folder}", anchor=SearchPathQuery(provider="schema"))
    GlobalHydra.instance().clear()
    Hydra.create_main_hydra2("app", search_path)
