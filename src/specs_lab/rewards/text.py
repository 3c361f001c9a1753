"""Characters that cannot be seen: what of a response is blank, and which answers hide something.

A policy may sample any Unicode text. Zero-width characters must not turn an empty reasoning section into one that says
something, and must not hide inside an answer; characters that change the direction of writing show another answer than
they spell.
"""

from __future__ import annotations

import re

# First and last code point of each range of what shows nothing, but for the marks of direction below.
_CONTROL_RANGES = ((0x0000, 0x0008), (0x000E, 0x001F), (0x007F, 0x0084), (0x0086, 0x009F))
_UNSEEN_RANGES = (
    (0x00AD, 0x00AD), (0x034F, 0x034F), (0x061C, 0x061C), (0x115F, 0x1160), (0x17B4, 0x17B5), (0x180B, 0x180F),
    (0x200B, 0x200F), (0x2060, 0x2065), (0x206A, 0x206F), (0x2800, 0x2800), (0x3164, 0x3164), (0xFE00, 0xFE0F),
    (0xFEFF, 0xFEFF), (0xFFA0, 0xFFA0), (0xFFF0, 0xFFFB), (0x1BCA0, 0x1BCA3), (0x1D173, 0x1D17A),
)  # fmt: skip
_CONTROL, _UNSEEN = (
    "".join(chr(code) for first, last in ranges for code in range(first, last + 1))
    for ranges in (_CONTROL_RANGES, _UNSEEN_RANGES)
)
_DIRECTION = "\u202a-\u202e\u2066-\u2069"
_SPACES = "".join(chr(code) for code in range(0x3001) if chr(code).isspace() and chr(code) not in _CONTROL)
_BLANK = _SPACES + _UNSEEN
_HIDDEN = re.compile(f"[{re.escape(_CONTROL + _UNSEEN)}{_DIRECTION}\U000e0000-\U000e0fff]")
_SHOWN = re.compile(f"[^{re.escape(_CONTROL + _BLANK)}{_DIRECTION}\U000e0000-\U000e0fff]")


def strip(text: str) -> str:
    """The text without white space and characters that show nothing at its ends."""
    return text.strip(_BLANK)


def blank(text: str) -> bool:
    """Whether a text shows nothing: only white space, control characters and characters without any width."""
    return _SHOWN.search(text) is None


def hides(text: str) -> bool:
    """Whether a text contains characters that show nothing, or such as change the direction of writing."""
    return _HIDDEN.search(text) is not None
