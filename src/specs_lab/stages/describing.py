"""Options as plain data: for manifests, keys and data cards."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from typing import Any


def describe(option: Any, *, operational: bool = True) -> dict[str, Any]:
    """An options object as plain data, with the name of its class, and of those of the objects in it.

    Args:
        option: The object, a dataclass.
        operational: Also fields that are marked as such (:data:`specs_lab.core.options.OPERATIONAL`).
    """
    kept = [f for f in fields(option) if operational or not f.metadata.get("operational")]
    return {"class": type(option).__name__, **{f.name: _described(getattr(option, f.name), operational) for f in kept}}


def _described(value: Any, operational: bool) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return describe(value, operational=operational)
    if isinstance(value, dict):
        return {name: _described(item, operational) for name, item in value.items()}
    return [_described(item, operational) for item in value] if isinstance(value, list | tuple) else value
