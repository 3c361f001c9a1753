"""The child's end of a duel: it waits for its turn, takes one step, says how long it took.

Messages are one JSON object a line: ``{"event": "ready", ...}``, ``{"event": "step", "seconds": ..., ...}`` and
``{"event": "bye", ...}`` on standard output; ``go`` and ``stop`` on standard input. Whatever libraries print goes to
standard error instead.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TextIO

from benchmarks.memory import PeakMemory


def take_stdout() -> TextIO:
    """The process's standard output, for messages alone: from here on all other output goes to standard error."""
    sys.stdout.flush()
    own = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    return own


class Turns:
    """Takes turns with the other side.

    Args:
        output: Where messages go; see :func:`take_stdout`.
        device: ``cpu`` or ``cuda``.
    """

    def __init__(self, output: TextIO, device: str = "cpu") -> None:
        self._output, self._device = output, device
        self._memory: PeakMemory | None = None
        self._parts: dict[str, float] = {}
        self._start = 0.0
        self.finished = False

    def ready(self, **facts: Any) -> bool:
        """Says that training may begin, and waits.

        Args:
            facts: What the parent should know, as JSON values.

        Returns:
            Whether to take a step, as of :meth:`step_done`.
        """
        self._memory = PeakMemory(self._device)
        self._send("ready", **facts)
        return self._wait()

    def step_done(self, tokens: Callable[[], int]) -> bool:
        """Reports a step that began with the last turn, and waits for the next.

        Args:
            tokens: Counts the tokens that an unshared computation of the step has; called when the clock has stopped.

        Returns:
            Whether there is a next step; if not, peak memory has been reported and training should end.
        """
        if self.finished:
            return False
        self._synchronise()
        seconds = time.perf_counter() - self._start
        self._send("step", seconds=seconds, parts=self._parts, tokens=tokens())
        return self._wait()

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Adds the time inside to a named part of the step."""
        self._synchronise()
        start = time.perf_counter()
        yield
        self._synchronise()
        self._parts[name] = self._parts.get(name, 0.0) + time.perf_counter() - start

    def _wait(self) -> bool:
        # An end of file is the parent's death.
        if sys.stdin.readline().strip() != "go":
            memory = self._memory
            if memory is not None:
                self._send("bye", base_mb=memory.base_mb, peak_mb=memory.peak_mb)
            self.finished = True
            return False
        self._parts = {}
        self._start = time.perf_counter()
        return True

    def _send(self, event: str, **values: Any) -> None:
        self._output.write(json.dumps({"event": event, **values}) + "\n")
        self._output.flush()

    def _synchronise(self) -> None:
        if self._device == "cuda":
            import torch

            torch.cuda.synchronize()
