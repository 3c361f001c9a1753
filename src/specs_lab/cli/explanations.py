"""What Hydra and OmegaConf say about an override, in words that help: where, what, and what to write instead."""

from __future__ import annotations

from typing import Any

from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf

from specs_lab.cli.composition import Composer
from specs_lab.core.errors import Fault, suggest

_WANTED = {int: "a whole number", float: "a number", bool: "true or false", str: "a text", list: "a list, as [a,b]"}


def is_choice(known: Composer, override: Override) -> bool:
    """Whether an override picks a choice of a config group."""
    return bool(known.choices(override.key_or_group)) and not isinstance(override.value(), dict)


def node_of(override: Override) -> str:
    """The root node that an override changes."""
    return (override.package or override.key_or_group).split(".")[0]


def syntax_fault(text: str, error: Exception) -> Fault:
    """The fault of an override that cannot be read."""
    reason = str(error).strip().splitlines()[0]
    return Fault(
        text.partition("=")[0] or text,
        f"'{text}' cannot be read: {reason}",
        "write option=value or group=choice; put values with spaces or signs in quotes: \"option='a value'\"",
    )


def composition_fault(known: Composer, override: Override, cfg: DictConfig, error: Exception) -> Fault:
    """The fault of an override that does not compose.

    Args:
        known: Composes configurations.
        override: The override.
        cfg: The configuration without it.
        error: What composing with it raised.
    """
    where = override.get_key_element().lstrip("+~")
    if is_choice(known, override):
        return _choice_fault(known, where, override, error)
    if override.package is not None:
        group = override.key_or_group
        return Fault(where, f"there is no config group '{group}'", suggest(group, known.groups()))
    unknown = _unknown_part(known, cfg, override.key_or_group)
    if unknown is not None:
        return Fault(where, *unknown)
    if override.is_add() or override.is_delete():
        return _plain_fault(where, error)
    current = OmegaConf.select(cfg, override.key_or_group, throw_on_missing=False)
    wanted = next((words for kind, words in _WANTED.items() if type(current) is kind), None)
    if wanted is None:
        return _plain_fault(where, error)
    return Fault(where, f"'{override.get_value_string()}' is not {wanted}", f"give {wanted}, e.g. {current}")


def _choice_fault(known: Composer, where: str, override: Override, error: Exception) -> Fault:
    options = known.choices(override.key_or_group)
    value = override.value()
    if not isinstance(value, str):
        return Fault(where, f"'{override.get_value_string()}' is no choice", suggest("", options))
    if value not in options:
        return Fault(where, f"there is no '{value}'", suggest(value, options))
    return _plain_fault(where, error)


def _unknown_part(known: Composer, cfg: DictConfig, key: str) -> tuple[str, str] | None:
    """What and fix for the first part of a dotted key that does not exist, or None if all exist."""
    node: Any = cfg
    seen: list[str] = []
    for part in key.split("."):
        if not isinstance(node, DictConfig):
            return f"'{'.'.join(seen)}' has no parts, so no '{part}'", f"write {'.'.join(seen)}=<value>"
        names = [str(name) for name in node]
        if part not in names:
            if not seen:
                return f"there is no option and no config group '{part}'", suggest(part, {*known.groups(), *names})
            return f"'{'.'.join(seen)}' has no option '{part}'", suggest(part, names)
        seen.append(part)
        node = OmegaConf.select(cfg, ".".join(seen), throw_on_missing=False)
    return None


def _plain_fault(where: str, error: Exception) -> Fault:
    """A fault in Hydra's own words: the first line of what it says, and of what caused it."""
    said = [str(error).strip().splitlines()[0]]
    if error.__cause__ is not None:
        said.append(str(error.__cause__).strip().splitlines()[0])
    rest = str(error).strip().splitlines()[1:]
    fix = rest[0] if rest else "see `--help` for the choices and `--cfg job` for the values"
    return Fault(where, ": ".join(said), fix)
