r"""Reads numbers exactly: decimals, fractions, mixed and scientific notation, LaTeX or plain, with or without a unit.

Values are rational numbers, so 0.1 + 0.2 has no rounding, and a power of ten of a billion is refused, not computed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

from specs_lab.rewards.kinds.writing import folded, plain, visible
from specs_lab.rewards.units import Unit, declared_unit, generic, read_unit

LONGEST = 400
"""Characters of a number, its unit included."""

_LARGEST_EXPONENT = 300
_MONEY = re.compile(r"\s*(?P<minus>-?)\s*\\?(?P<sign>[$\u20ac\u00a3\u00a5])\s*(?=[0-9.])")
_FENCE = re.compile(r"\\(?:left|right)\s?(?=[\[\](){}|.])")
_THOUSANDS = re.compile(r"(?<=[0-9])(,?)(?:\\[,!]|\{,\}|~)(?=[0-9]{3}(?![0-9]))")
_TEX_SPACE = re.compile(r"\\[,;:! ]|~")
_MONEY_BEHIND = re.compile(r"(?<=[0-9.])\s?\\?\$\s?\.?$")
_TEX_SIGNS = (
    ("\\dfrac", "\\frac"),
    ("\\tfrac", "\\frac"),
    ("\\cfrac", "\\frac"),
    ("\\displaystyle", ""),
    ("\\%", "%"),
    ("\\$", "$"),
    ("\\times", "\u00d7"),
    ("\\cdot", "\u00d7"),
    ("^{\\circ}", " deg"),
    ("^\\circ", " deg"),
    ("\\circ", " deg"),
    ("\\degree", " deg"),
    ("\\approx", " "),
    ("\u2248", " "),
    ("\u00b0 ", "\u00b0"),
)
_ASSIGNED = re.compile(r"\s*[A-Za-z](?:_(?:\w|\{\w+\}))?\s*=\s*")
_UNSIGNED = r"(?:[1-9][0-9]{0,2}(?:,[0-9]{3})+(?:\.[0-9]*)?|[0-9]+(?:\.[0-9]*)?|\.[0-9]+)"
_SIGNED = rf"[+-]?\s?{_UNSIGNED}"
_IN_BRACES = rf"\{{\s*(?:{_SIGNED})\s*\}}"
_POWER_OF_TEN = (
    r"[eE](?P<e>[+-]?[0-9]+)|\s*[*\u00d7]\s*10\s*\^\s*(?:\{\s*(?P<braced>[+-]?[0-9]+)\s*\}|(?P<bare>[+-]?[0-9]+))"
)
_FORMS = (
    rf"\\frac\s*(?P<top>{_IN_BRACES}|[0-9])\s*(?P<under>{_IN_BRACES}|[0-9])",
    r"(?P<whole>[0-9]+)\s?\\frac\s*(?P<mtop>\{\s*[0-9]+\s*\}|[0-9])\s*(?P<munder>\{\s*[0-9]+\s*\}|[0-9])",
    r"(?P<swhole>[0-9]+)\s(?P<stop>[0-9]+)\s?/\s?(?P<sunder>[0-9]+)",
    rf"(?P<over>{_UNSIGNED})\s?/\s?(?P<below>{_SIGNED})",
    rf"(?P<number>{_UNSIGNED})(?:{_POWER_OF_TEN})?",
)
_NUMBER = re.compile(rf"\s*(?P<sign>[+-]?)\s?(?:{'|'.join(_FORMS)})(?P<rest>.*)", re.DOTALL)
_COLONS = re.compile(rf"\s*{_UNSIGNED}(?:\s?(?::|\s[Tt][Oo]\s)\s?{_UNSIGNED})+\s*")
_ONES = {
    "zero": 0, "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9,
    "ten": 10, "eleven": 11, "twelve": 12, "thirteen": 13, "fourteen": 14, "fifteen": 15, "sixteen": 16,
    "seventeen": 17, "eighteen": 18, "nineteen": 19,
}  # fmt: skip
_TENS = {
    "twenty": 20, "thirty": 30, "forty": 40, "fifty": 50, "sixty": 60, "seventy": 70, "eighty": 80, "ninety": 90,
}  # fmt: skip
_WORDS = {**_ONES, **_TENS, "hundred": 100}
_WORDED = re.compile(
    r"(?P<minus>(?:minus|negative) )?(?:(?:a|one) (?=hundred$))?(?P<first>[a-z]+)(?:[- ](?P<second>[a-z]+))?"
)


@dataclass(frozen=True)
class Quantity:
    """A number with what it counts.

    Attributes:
        value: The number as it is written, not converted.
        unit: Its unit, or None if it has none.
        fraction: Whether it is written as a fraction.
    """

    value: Fraction
    unit: Unit | None = None
    fraction: bool = False


def read_quantity(text: str, unit_name: str | None = None) -> Quantity | None:
    """Reads a number.

    Args:
        text: The text; nothing may stand beside the number and its unit but decoration, and ``x =`` before it.
        unit_name: A unit that the problem declares; it is understood even if it is in no table ("apples").

    Returns:
        The number, or None if the text is none.
    """
    seen = visible(text)
    if seen is None or len(seen) > LONGEST:
        return None
    money, seen = _money(_inside_dollars(seen))
    if seen.count("$") == 2:  # mathematics mode around a part of it
        seen = seen.replace("$", "")
    text = plain(_without_tex(seen), ".,;:")
    if assigned := _ASSIGNED.match(text):
        text = text[assigned.end() :]
    match = _NUMBER.fullmatch(text)
    if match is None:
        return _in_words(text)
    value = _value(match)
    unit = _unit(match["rest"].strip(), money, unit_name)
    if value is None or unit is None:
        return None
    return Quantity(-value if match["sign"] == "-" else value, unit[0], fraction=match["number"] is None)


def read_ratio(text: str) -> tuple[Fraction, ...] | None:
    """Reads ``a:b``, ``a to b``, ``a:b:c``; what they are, not in lowest terms. None if it is no ratio."""
    seen = visible(text)
    if seen is None or len(seen) > LONGEST:
        return None
    text = plain(_without_tex(seen), ".,;")
    if not _COLONS.fullmatch(text):
        return None
    parts = tuple(Fraction(part.replace(",", "").strip()) for part in re.split(r":|\s[Tt][Oo]\s", text))
    return parts if any(parts) else None


def _without_tex(text: str) -> str:
    text = text.replace("\u2212", "-")
    if "\\" in text or "~" in text or "{" in text or not text.isascii():
        text = _TEX_SPACE.sub(" ", _THOUSANDS.sub(r"\1", _FENCE.sub("", text)))
        for written, meant in _TEX_SIGNS:
            text = text.replace(written, meant)
    return text


def _inside_dollars(text: str) -> str:
    """Without marks of mathematics mode around all of it."""
    whole = len(text) > 2 and text[0] == text[-1] == "$" and text[-2] != "\\"
    return text[1:-1].strip() if whole else text


def _money(text: str) -> tuple[str, str]:
    """The sign of a currency before or behind a number, if there is one, and the text without it."""
    before, behind = _MONEY.match(text), _MONEY_BEHIND.search(text)
    if before is not None and not (before["sign"] == "$" and text.count("$") > 1):
        return before["sign"], before["minus"] + text[before.end() :]
    if behind is not None and text.count("$") == 1:
        return "$", text[: behind.start()]
    return "", text


def _value(match: re.Match[str]) -> Fraction | None:
    if match["number"]:
        exponent = int(match["e"] or match["braced"] or match["bare"] or 0)
        return _decimal(match["number"]) * Fraction(10) ** exponent if abs(exponent) <= _LARGEST_EXPONENT else None
    if match["over"]:
        return _ratio(match["over"], match["below"])
    whole = match["whole"] or match["swhole"]
    if whole:
        part = _ratio(match["mtop"] or match["stop"], match["munder"] or match["sunder"])
        return None if part is None or part >= 1 else int(whole) + part
    return _ratio(match["top"], match["under"])


def _decimal(text: str) -> Fraction:
    return Fraction(text.strip("{} ").replace(",", "").replace(" ", ""))


def _ratio(top: str, under: str) -> Fraction | None:
    below = _decimal(under)
    return _decimal(top) / below if below else None


def _unit(rest: str, money: str, declared: str | None) -> tuple[Unit | None] | None:
    """The unit, in a tuple as it may be none; None if what follows the number is no unit."""
    if rest[:1].isdigit():
        return None
    if not rest or generic(rest):
        return (read_unit(money) if money else None,)
    unit = read_unit(rest)
    if unit is None and declared is not None and _same_word(rest, declared):
        unit = declared_unit(declared)
    return None if unit is None or money else (unit,)


def _same_word(first: str, second: str) -> bool:
    one, other = folded(first), folded(second)
    return one == other or one == other + "s" or one + "s" == other


def _in_words(text: str) -> Quantity | None:
    match = _WORDED.fullmatch(folded(text))
    if match is None:
        return None
    tens, ones = _TENS.get(match["first"]), _ONES.get(match["second"] or "zero", -1)
    if match["second"] is None:
        value = _WORDS.get(match["first"])
    else:
        value = tens + ones if tens is not None and 1 <= ones <= 9 else None
    return None if value is None else Quantity(Fraction(-value if match["minus"] else value))
