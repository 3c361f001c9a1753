"""Refuses secrets in configurations: what Hydra composes it writes to ``.hydra``, and loggers send it on."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.resolvers.oc import env

from specs_lab.core.errors import Fault
from specs_lab.core.secrets import is_secret, secret_in

_FIX = "leave it out: configurations are written down. Keys belong into variables of the environment"
_ENVIRONMENT = "hydra.job.env_set."


def argument_faults(arguments: Sequence[str]) -> list[Fault]:
    """Faults of the arguments that hold secrets, which are not shown.

    Args:
        arguments: The command line, as typed.
    """
    faults: list[Fault] = []
    for text in arguments:
        key = text.lstrip("+~").partition("=")[0]
        what = secret_in(text)
        if what is None and key.startswith(_ENVIRONMENT) and is_secret(key.removeprefix(_ENVIRONMENT)):
            what = "sets a secret"
        if what is not None:
            faults.append(Fault(key if secret_in(key) is None else "command line", what, _FIX))
    return faults


def configured_secrets(cfg: DictConfig) -> list[Fault]:
    """Faults of the values of a composed configuration that hold secrets; its ``hydra`` node is left out."""

    def walk(value: Any, where: str) -> Iterator[Fault]:
        if isinstance(value, dict):
            for key, one in value.items():
                yield from walk(one, f"{where}.{key}")
        elif isinstance(value, list):
            for index, one in enumerate(value):
                yield from walk(one, f"{where}[{index}]")
        elif isinstance(value, str) and (what := secret_in(value)) is not None:
            yield Fault(where, what, _FIX)

    faults: list[Fault] = []
    for name in map(str, cfg):
        node = cfg._get_node(name)
        if name != "hydra" and isinstance(node, DictConfig | ListConfig):
            faults += walk(OmegaConf.to_container(node), name)
    return faults


def variable(name: str, *default: Any) -> Any:
    """What ``${oc.env:name}`` means: what OmegaConf means by it, but secrets are not given away.

    Args:
        name: Name of a variable of the environment.
        default: What is taken if it is not set.

    Raises:
        ValueError: If it holds a secret.
        KeyError: If it is not set, and there is no default.
    """
    what = "holds a secret" if is_secret(name) else secret_in(os.environ.get(name, ""))
    if what is not None:
        raise ValueError(f"the variable {name} {what}, which no configuration may read: they are written down")
    return env(name, *default)
