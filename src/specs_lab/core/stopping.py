"""SIGTERM with time to finish: who is in the middle of something that can be saved is asked, not torn away.

Clusters send SIGTERM (SLURM before a preemption, Kubernetes, a sweep that is interrupted) some seconds before they
kill. A training asks :func:`asked_to_stop` after each step, writes a checkpoint and ends. Everything else ends at once.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType

EXIT_TERMINATED = 128 + signal.SIGTERM


class _State:
    listening = False
    patient = 0
    """How many callers have promised to ask."""
    asked = False
    asked_by_itself = threading.Lock()
    """Held for good once this process has sent itself the signal."""


def ask_to_stop() -> None:
    """Sends this process SIGTERM, unless it has been sent one: a second would not wait for a checkpoint."""
    if not _State.asked and _State.asked_by_itself.acquire(blocking=False):
        os.kill(os.getpid(), signal.SIGTERM)


def asked_to_stop() -> bool:
    """Whether this process has been sent SIGTERM and is to end as soon as it can."""
    return _State.asked


@contextmanager
def stopping_when_asked() -> Generator[None]:
    """Within, a first SIGTERM is only noted: the caller promises to ask :func:`asked_to_stop` now and then."""
    _State.patient += 1
    try:
        yield
    finally:
        _State.patient -= 1


def exit_on_sigterm() -> None:
    """Turns SIGTERM into :class:`SystemExit`, so that stages tidy up; a second one does so at once in any case."""
    _State.listening = True
    listen_again()


def listen_again() -> None:
    """Takes the signal back from a library that handles it itself; nothing where :func:`exit_on_sigterm` never was.

    Lightning's handler starts a collective of all processes wherever this one happens to be, which can hang.
    """
    if _State.listening:
        signal.signal(signal.SIGTERM, _note_or_exit)


def _note_or_exit(number: int, _: FrameType | None) -> None:
    first = not _State.asked
    _State.asked = True
    if not (first and _State.patient):
        sys.exit(EXIT_TERMINATED)
