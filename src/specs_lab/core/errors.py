"""The one error that users of the suite meet, and the faults it collects.

Everything that a user can get wrong (a name, a type, a combination of options, a broken file) becomes a
:class:`Fault`; all faults found are raised together as one :class:`UserError`, which the command lines print
without a traceback and turn into exit code 2.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

EXIT_USER_ERROR = 2


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong with the input.

    Attributes:
        where: The option, file or argument at fault, e.g. ``coldstart.lr``.
        what: What is wrong with it, including the offending value.
        fix: What to write instead.
    """

    where: str
    what: str
    fix: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}\n      fix: {self.fix}"


class UserError(Exception):
    """Input that cannot be worked with; carries every fault that was found.

    Attributes:
        faults: The faults, in the order in which they were found.
    """

    def __init__(self, faults: Sequence[Fault]) -> None:
        if not faults:
            raise ValueError("a UserError needs at least one fault")
        self.faults = tuple(faults)
        super().__init__(str(self))

    def __str__(self) -> str:
        count = len(self.faults)
        head = "1 problem with the input" if count == 1 else f"{count} problems with the input"
        return head + ":\n" + "\n".join(f"  {i}. {fault}" for i, fault in enumerate(self.faults, start=1))


def suggest(name: str, known: Iterable[str]) -> str:
    """Says which known name was probably meant, and lists all of them.

    Args:
        name: The unknown name.
        known: The names that exist.
    """
    options = sorted(known)
    close = get_close_matches(name, options, n=1)
    hint = f"did you mean '{close[0]}'? " if close else ""
    return f"{hint}known: {', '.join(options)}"


def raise_faults(faults: Sequence[Fault]) -> None:
    """Raises one :class:`UserError` if there are any faults, else does nothing."""
    if faults:
        raise UserError(faults)
