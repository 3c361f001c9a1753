"""Characters that cannot be seen: what of a response is blank, and which answers hide something.

A policy may sample any Unicode text. Zero-width characters must not turn an empty reasoning section into one that says
something, and must not hide inside an answer; characters that change the direction of writing show another answer than
they spell.
"""

from __future__ import annotations

import re

# First and last code point of each range; what Unicode calls default-ignorable, but for the marks of direction below.
_ZERO_WIDTH_RANGES = (
    (0x00AD, 0x00AD), (0x034F, 0x034F), (0x061C, 0x061C), (0x115F, 0x1160), (0x17B4, 0x17B5), (0x180B, 0x180F),
    (0x200B, 0x200F), (0x2060, 0x2065), (0x206A, 0x206F), (0x3164, 0x3164), (0xFE00, 0xFE0F), (0xFEFF, 0xFEFF),
    (0xFFA0, 0xFFA0),
)  # fmt: skip
_ZERO_WIDTH = "".join(chr(code) for first, last in _ZERO_WIDTH_RANGES for code in range(first, last + 1))
_DIRECTION = "\u202a-\u202e\u2066-\u2069"
_SPACES = "".join(chr(code) for code in range(0x3001) if chr(code).isspace())
_BLANK = _SPACES + _ZERO_WIDTH
_HIDDEN = re.compile(f"[{_ZERO_WIDTH}{_DIRECTION}\U000e0000-\U000e0fff]")


def strip(text: str) -> str:
    """The text without white space and zero-width characters at its ends."""
    return text.strip() if text.isascii() else text.strip(_BLANK)


def blank(text: str) -> bool:
    """Whether a text shows nothing: only white space and characters without any width."""
    return not (text.strip() if text.isascii() else _HIDDEN.sub("", text).strip())


def hides(text: str) -> bool:
    """Whether a text contains characters without width, or such as change the direction of writing."""
    return not text.isascii() and _HIDDEN.search(text) is not None
