"""Progress as events: stages report what they do; who shows it (a terminal, a parent process) is decided outside.

An event is one flat dict, so that it can cross a process boundary as one line of JSON.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

Event = dict[str, Any]
Sink = Callable[[Event], None]


def ignore(_: Event) -> None:
    """A sink that shows nothing."""


class Progress:
    """What a stage reports its progress to.

    Args:
        sink: Receives events: ``{"event": "start", "task": str, "total": int}``,
            ``{"event": "advance", "task": str, "done": int, "note": str}``, ``{"event": "end", "task": str}`` and
            ``{"event": "message", "text": str}``.
    """

    def __init__(self, sink: Sink = ignore) -> None:
        self.sink = sink

    @contextmanager
    def task(self, name: str, total: int) -> Generator[Callable[..., None]]:
        """Reports a task of ``total`` units; yields ``advance(units=1, note="")``."""
        done = 0

        def advance(units: int = 1, note: str = "") -> None:
            nonlocal done
            done += units
            self.sink({"event": "advance", "task": name, "done": done, "note": note})

        self.sink({"event": "start", "task": name, "total": total})
        try:
            yield advance
        finally:
            self.sink({"event": "end", "task": name})

    def message(self, text: str) -> None:
        """Reports one line for the log."""
        self.sink({"event": "message", "text": text})
