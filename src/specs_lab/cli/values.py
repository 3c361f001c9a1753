"""From a composed configuration to real options: every wrong value becomes a fault."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from specs_lab.cli.secrecy import configured_secrets
from specs_lab.core.errors import Fault, raise_faults
from specs_lab.core.options import InvalidOption
from specs_lab.stages.context import Faulty, Study
from specs_lab.stages.faults import find_faults
from specs_lab.stages.kinds import KINDS
from specs_lab.stages.options.recipe import Recipe

_RESERVED = re.compile(r"_\w+_")
_SEED = "seed"
_REQUIRED = ("recipe", "paths", "trainer")


def study_of(cfg: DictConfig) -> Study:
    """The study that a composed configuration describes.

    Args:
        cfg: The configuration; its ``hydra`` node is left out.

    Raises:
        UserError: With everything that is wrong with its values.
    """
    nodes, faults = _read_nodes(cfg)
    raise_faults(faults)
    return Study.of(nodes)


def option_of(cfg: DictConfig, name: str) -> Any:
    """The options of one node of a composed configuration.

    Raises:
        UserError: With everything that is wrong with its values.
    """
    faults, value = _read_node(cfg, name)
    raise_faults(faults)
    return value


def value_faults(cfg: DictConfig) -> list[Fault]:
    """Everything that is wrong with the values of a composed configuration, or does not fit together in it."""
    nodes, faults = _read_nodes(cfg)
    if isinstance(nodes.get("recipe"), Recipe) and "paths" in nodes:  # without, there is nothing to check
        faults += find_faults(Study.of(nodes), KINDS)
    return faults


def _read_nodes(cfg: DictConfig) -> tuple[dict[str, Any], list[Fault]]:
    """The options by node of the root, with ``seed``; and the faults of those that are :class:`Faulty`."""
    nodes: dict[str, Any] = {}
    faults = [
        Fault(name, "nothing is chosen", f"choose one of the group, see `--help`: {name}=<choice>")
        for name in _REQUIRED
        if name not in cfg
    ]
    faults += [
        Fault(where, f"'{where.rsplit('.', 1)[-1]}' is no option", "remove it: configurations name no code to call")
        for where in sorted(_reserved_keys(cfg))
    ]
    faults += configured_secrets(cfg)
    for name in map(str, cfg):
        if name == "hydra" or _RESERVED.fullmatch(name):
            continue
        found, value = _read_node(cfg, name)
        faults += found
        nodes[name] = Faulty() if found else value
    return nodes, faults


def _read_node(cfg: DictConfig, name: str) -> tuple[list[Fault], Any]:
    try:
        node = cfg[name]
    except OmegaConfBaseException as error:
        return [_fault(name, error)], None
    return (_seed_faults(node), node) if name == _SEED else _option(name, node)


def _option(name: str, node: Any) -> tuple[list[Fault], Any]:
    if not isinstance(node, DictConfig) or OmegaConf.get_type(node) is dict:
        return [Fault(name, "is no option of a study", "remove it, or pick it from a config group")], None
    try:
        missing = sorted(OmegaConf.missing_keys(node))
        if missing:
            return [Fault(key, "has no value", f"add {key}=<value>") for key in missing], None
        return [], OmegaConf.to_object(node)
    except InvalidOption as error:
        return [Fault(f"{name}.{fault.where}", fault.what, fault.fix) for fault in error.faults], None
    except OmegaConfBaseException as error:
        return [_fault(name, error)], None


def _seed_faults(seed: Any) -> list[Fault]:
    whole = isinstance(seed, int) and not isinstance(seed, bool) and seed >= 0
    return [] if whole else [Fault(_SEED, f"'{seed}' is no seed", "give a whole number >= 0")]


def _fault(name: str, error: OmegaConfBaseException) -> Fault:
    where = getattr(error, "full_key", None) or name
    return Fault(where, str(error).splitlines()[0], "see `--cfg job` for the values that there are")


def _reserved_keys(cfg: DictConfig) -> Iterator[str]:
    """Full names of keys such as ``_target_`` outside of Hydra's own node."""

    def walk(node: Any, path: str) -> Iterator[str]:
        if isinstance(node, dict):
            for key, value in node.items():
                where = f"{path}.{key}" if path else str(key)
                if _RESERVED.fullmatch(str(key)):
                    yield where
                yield from walk(value, where)
        elif isinstance(node, list):
            for index, value in enumerate(node):
                yield from walk(value, f"{path}[{index}]")

    for name in cfg:
        if name == "hydra":
            continue
        node = cfg._get_node(name)
        plain = OmegaConf.to_container(node) if isinstance(node, DictConfig | ListConfig) else None
        yield from walk({str(name): plain}, "")
