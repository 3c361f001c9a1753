"""Overrides that change nothing, because the recipe itself says what its stages do instead."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from specs_lab.core.errors import Fault
from specs_lab.stages.kinds import KINDS

_WITHOUT_TASKS = ("rl", "mixture")
"""A role and its field that stages do not read which are given their tasks."""


def idle_faults(cfg: DictConfig, overrides: Sequence[Override]) -> list[Fault]:
    """A fault for every override of an option that each stage replaces, or has no use for, that would read it.

    Args:
        cfg: The configuration; a recipe that cannot be read is somebody else's fault.
        overrides: What was typed, parsed.
    """
    try:
        stages = OmegaConf.to_container(cfg.recipe.stages, resolve=True)
    except OmegaConfBaseException:
        return []
    if not isinstance(stages, dict):
        return []
    faults = []
    for override in overrides:
        node, _, rest = override.get_key_element().lstrip("+").partition(".")
        field = rest.partition(".")[0]
        if field and not override.is_delete():
            faults += _faults_of(f"{node}.{rest}", node, field, stages)
    return faults


def _faults_of(key: str, node: str, field: str, stages: Mapping[Any, Any]) -> list[Fault]:
    places = [_replaced(name, spec, role, field) for name, spec in stages.items() for role in _roles(spec, node)]
    if not places or None in places:  # nobody reads the node at all, or somebody reads the option
        return []
    return [Fault(key, f"has no effect in this recipe: {places[0]}", "leave it out, or change the recipe's stage")]


def _roles(spec: Mapping[str, Any], node: str) -> Iterator[str]:
    """The roles that a config node plays in a stage."""
    kind = KINDS.get(spec.get("kind", ""))
    for role in kind.reads if kind else ():
        if spec.get("options", {}).get(role, role) == node:
            yield role


def _replaced(name: str, spec: Mapping[str, Any], role: str, field: str) -> str | None:
    """Why a stage does not read an option; None if it does."""
    for way in ("changes", "by_round"):
        if field in spec.get(way, {}).get(role, {}):
            return f"recipe.stages.{name}.{way}.{role}.{field} replaces it"
    if (role, field) == _WITHOUT_TASKS and "tasks" in spec.get("inputs", {}):
        return f"stage '{name}' is given its tasks by '{spec['inputs']['tasks']}'"
    return None
