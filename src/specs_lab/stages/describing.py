"""Options as plain data: for manifests, keys and data cards."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from typing import Any


def describe(option: Any) -> dict[str, Any]:
    """An options object as plain data, with the name of its class, and of those of the objects in it."""
    return {"class": type(option).__name__, **{f.name: _described(getattr(option, f.name)) for f in fields(option)}}


def _described(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return describe(value)
    if isinstance(value, dict):
        return {name: _described(item) for name, item in value.items()}
    return [_described(item) for item in value] if isinstance(value, list | tuple) else value
