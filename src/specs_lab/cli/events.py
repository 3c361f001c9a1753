"""Progress events across the border between a job's process and the sweep that started it: JSON lines over a pipe."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator

from specs_lab.core.progress import Event
from specs_lab.core.stopping import ask_to_stop

EVENTS_FD_VARIABLE = "SPECS_LAB_EVENTS_FD"
_CHUNK = 65536


class EventWriter:
    """A sink that writes events to a file descriptor.

    Args:
        descriptor: An inherited, writable descriptor. It is not handed on to processes that this one starts.
    """

    def __init__(self, descriptor: int) -> None:
        os.set_inheritable(descriptor, False)
        self._descriptor = descriptor

    def __call__(self, event: Event) -> None:
        """Writes one event.

        If the reader has gone, the sweep was killed and can no longer end this job, which then ends as at SIGTERM: a
        training writes a checkpoint first.
        """
        rest = json.dumps(event).encode() + b"\n"
        try:
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
        except BrokenPipeError:
            ask_to_stop()

    @classmethod
    def from_environment(cls) -> EventWriter | None:
        """The writer that the environment asks for, or None if this process is no job of a sweep."""
        descriptor = os.environ.pop(EVENTS_FD_VARIABLE, None)
        return None if descriptor is None else cls(int(descriptor))


class EventReader:
    """Reads events from a file descriptor without waiting for them.

    Args:
        descriptor: A readable descriptor; closed by :meth:`close`.
    """

    def __init__(self, descriptor: int) -> None:
        os.set_blocking(descriptor, False)
        self.descriptor = descriptor
        self.ended = False
        self._rest = b""

    def read(self) -> Iterator[Event]:
        """The events that have arrived since the last call; a line that is not complete yet waits."""
        while not self.ended:
            try:
                chunk = os.read(self.descriptor, _CHUNK)
            except BlockingIOError:
                return
            self.ended = not chunk
            *lines, self._rest = (self._rest + chunk).split(b"\n")
            for line in lines:
                yield json.loads(line)

    def close(self) -> None:
        """Closes the descriptor."""
        os.close(self.descriptor)
