"""What pretraining goes on from when it is interrupted: the model, and what its current phase needs beside it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from specs_lab.models.vlm import VLM

State = dict[str, Any]
Keep = Callable[[int, Callable[[Path], None]], None]
"""Told after each step of all phases how many have been taken, and how to save; may save."""


def keep_nothing(step: int, save: Callable[[Path], None]) -> None:
    """The :data:`Keep` of a pretraining that cannot be interrupted."""
    del step, save


class Phase:
    """One phase of pretraining: where it begins, and how its state is kept.

    Args:
        name: Its name.
        vlm: The model; set to what a state says.
        first: Steps of the phases before it.
        state: What a snapshot says, or None; one of another phase says nothing about this one's steps.
        keep: Keeps snapshots.
    """

    def __init__(
        self, name: str, vlm: VLM, first: int = 0, state: State | None = None, keep: Keep = keep_nothing
    ) -> None:
        self._name, self._vlm, self._first, self._keep = name, vlm, first, keep
        self._state = state if state and state["phase"] == name else None
        if self._state:
            vlm.model.load_state_dict(self._state["model"])

    def begin(self, parts: dict[str, Any]) -> int:
        """Sets parts that have a ``load_state_dict`` to what a snapshot says; returns the step to begin with."""
        for name, part in parts.items() if self._state else ():
            part.load_state_dict(self._state["parts"][name])  # type: ignore[index] # there is one, or no part is named
        return self._state["step"] if self._state else 0

    def values(self) -> list[Any]:
        """The list of plain values that was kept; empty at the beginning."""
        return list(self._state["values"]) if self._state else []

    def done(self, step: int, parts: dict[str, Any], values: list[Any]) -> None:
        """To be called after each step: ``step`` steps of this phase are done."""

        def save(path: Path) -> None:
            state = {
                "phase": self._name,
                "step": step,
                "model": self._vlm.model.state_dict(),
                "parts": {name: part.state_dict() for name, part in parts.items()},
                "values": values,
            }
            torch.save(state, path)

        self._keep(self._first + step, save)


def read_state(path: Path) -> State:
    """A snapshot that :meth:`Phase.done` had written."""
    return torch.load(path, map_location="cpu", weights_only=True)
