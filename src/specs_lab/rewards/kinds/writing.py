r"""How answers are written: TeX wrappers, decoration and punctuation around what is said.

Full-width ASCII and the minus sign are read as ASCII. Nothing else is folded: ``7²`` must not become 72, nor a Cyrillic
letter a Latin one.
"""

from __future__ import annotations

import re
import unicodedata

from specs_lab.rewards.text import hides, strip

_WRAPPED = re.compile(r"\\(?:boxed|fbox|text|textbf|textit|textrm|mathrm|mathbf|mathit|mbox)\s*\{([^{}]*)\}")
_DECORATION = " \t\r\n*`$\"'"
_EMPHASIS = ' \t\r\n*`$"'
_DEEPEST = 8  # wrappers in wrappers; what is wrapped more often is nobody's answer
_PUNCTUATION = ".,;:!"
_MATHS_MODE = re.compile(r"\\[()\[\]]")
_KELVIN, _STAND_IN = "\u212a", "\ue12a"
_AS_ASCII = {
    **{code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)},  # full width
    0x3000: " ",
    0x00A0: " ",
    0x2212: "-",
    0x2018: "'",
    0x2019: "'",
    0x201C: '"',
    0x201D: '"',
    0x3002: ".",
}


def visible(text: str) -> str | None:
    """The text without blanks at its ends, and with full-width characters as ASCII; None if it hides characters."""
    text = strip(text)
    if hides(text):
        return None
    return text if text.isascii() else text.translate(_AS_ASCII)


def unwrapped(text: str) -> str:
    r"""Without ``\text{}`` and the like, and without marks of mathematics mode."""
    if "\\" not in text:
        return text
    for _ in range(_DEEPEST):
        text, count = _WRAPPED.subn(r"\1", text)
        if not count:
            break
    return _MATHS_MODE.sub(" ", text)


def formula(text: str) -> str | None:
    r"""A formula without marks of mathematics mode and emphasis around it; None if it hides characters.

    Nothing within is touched: ``\text{}`` means something there, and so does an exclamation mark at the end.
    """
    seen = visible(text)
    if seen is None:
        return None
    bare = _MATHS_MODE.sub(" ", seen).strip(_EMPHASIS).rstrip(".,;:" + _EMPHASIS)
    if len(bare) > 1 and bare[0] == bare[-1] == "'":  # one alone is the sign of a derivative
        bare = bare[1:-1]
    return bare.removeprefix("\\displaystyle")


def plain(text: str, punctuation: str = _PUNCTUATION) -> str:
    """Without wrappers, without decoration and punctuation at the ends, single spaces."""
    text = " ".join(unwrapped(text).split())
    return text.strip(_DECORATION).rstrip(punctuation + _DECORATION)


def folded(text: str) -> str:
    """The text as :func:`plain` has it, in lower case; accents composed.

    A character that merely becomes an ASCII letter by that (a long s, the sign for kelvin) stays what it is.
    """
    text = plain(text)
    if text.isascii():
        return text.lower()
    composed = unicodedata.normalize("NFC", text.replace(_KELVIN, _STAND_IN))  # which would make a K of it
    return "".join(_lower(character) for character in composed)


def _lower(character: str) -> str:
    lower = character.lower()
    return character if lower.isascii() and not character.isascii() else lower
