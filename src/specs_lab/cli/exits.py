"""How the program ends when it does not end well."""

from __future__ import annotations

import sys
from typing import NoReturn

from specs_lab.core.errors import EXIT_USER_ERROR, UserError

EXIT_FAILED = 1
EXIT_INTERRUPTED = 130


def exit_with(error: UserError) -> NoReturn:
    """Prints what is wrong with the input, without a traceback, and ends the program with code 2."""
    print(error, file=sys.stderr)
    sys.exit(EXIT_USER_ERROR)
