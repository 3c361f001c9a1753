"""How the program ends when it does not end well."""

from __future__ import annotations

import signal
import sys
from types import FrameType
from typing import NoReturn

from specs_lab.core.errors import EXIT_USER_ERROR, UserError

EXIT_FAILED = 1
EXIT_INTERRUPTED = 130
_SIGNAL_BASE = 128


def exit_with(error: UserError) -> NoReturn:
    """Prints what is wrong with the input, without a traceback, and ends the program with code 2."""
    print(error, file=sys.stderr)
    sys.exit(EXIT_USER_ERROR)


def exit_on_sigterm() -> None:
    """Turns SIGTERM into an exception, so that stages tidy up and a sweep ends its jobs."""
    signal.signal(signal.SIGTERM, _exit)


def _exit(number: int, _: FrameType | None) -> NoReturn:
    sys.exit(_SIGNAL_BASE + number)
