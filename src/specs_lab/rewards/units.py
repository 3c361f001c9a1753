"""Units of measurement: which are the same under another name or scale.

A table rather than a library of units: such a library reads ``cat`` as centi-atmospheres, and what is not in this table
is no unit here. Scales are exact fractions. Temperatures, moneys and months are never converted.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

Dimension = tuple[tuple[str, int], ...]
"""Base dimensions and their exponents, sorted."""


@dataclass(frozen=True)
class Unit:
    """A unit.

    Attributes:
        dimension: What it measures.
        scale: How many of the dimension's base units it is.
    """

    dimension: Dimension
    scale: Fraction


PERCENT = Unit((("%", 1),), Fraction(1))
PROPORTION = Unit((), Fraction(1))
"""A pure number that may be written as per cent: the declared unit ``"1"``."""

_PREFIXES = {"k": 1000, "c": Fraction(1, 100), "m": Fraction(1, 1000), "d": Fraction(1, 10)}
_FINE_PREFIXES = {
    "M": 10**6, "G": 10**9, "\u00b5": Fraction(1, 10**6), "\u03bc": Fraction(1, 10**6), "n": Fraction(1, 10**9),
}  # fmt: skip
_LONG_PREFIXES = {
    "kilo": 1000, "centi": Fraction(1, 100), "milli": Fraction(1, 1000), "deci": Fraction(1, 10), "mega": 10**6,
    "giga": 10**9, "micro": Fraction(1, 10**6), "nano": Fraction(1, 10**9),
}  # fmt: skip
# (dimension, scale, symbols that take prefixes, names that take prefixes and a plural)
_METRIC = (
    ("length", 1, "m", ("meter", "metre")),
    ("mass", Fraction(1, 1000), "g", ("gram", "gramme")),
    ("force", 1, "N", ("newton",)),
    ("energy", 1, "J", ("joule",)),
    ("power", 1, "W", ("watt",)),
    ("pressure", 1, "Pa", ("pascal",)),
    ("voltage", 1, "V", ("volt",)),
    ("current", 1, "A", ("ampere", "amp")),
    ("frequency", 1, "Hz", ("hertz",)),
    ("resistance", 1, "\u03a9", ("ohm",)),
    ("amount", 1, "mol", ("mole",)),
)
# names that stand for themselves: symbol or word, dimension, scale; words also in the plural
_OTHERS = (
    (("s", "sec", "second"), "time", 1),
    (("ms", "millisecond"), "time", Fraction(1, 1000)),
    (("min", "minute"), "time", 60),
    (("h", "hr", "hour"), "time", 3600),
    (("day",), "time", 86400),
    (("week",), "time", 604800),
    (("month",), "month", 1),
    (("year", "yr"), "month", 12),
    (("inch", "inche", "in"), "length", Fraction(254, 10000)),
    (("ft", "foot", "feet"), "length", Fraction(3048, 10000)),
    (("yard", "yd"), "length", Fraction(9144, 10000)),
    (("mile", "mi"), "length", Fraction(1609344, 1000)),
    (("lb", "pound"), "mass", Fraction(45359237, 10**8)),
    (("oz", "ounce"), "mass", Fraction(45359237, 16 * 10**8)),
    (("ton", "tonne"), "mass", 1000),
    (("deg", "degree", "\u00b0"), "angle", 1),
    (("rad", "radian"), "radian", 1),
    (("\u00b0C", "degC", "celsius"), "celsius", 1),
    (("\u00b0F", "degF", "fahrenheit"), "fahrenheit", 1),
    (("K", "kelvin"), "kelvin", 1),
    (("$", "dollar", "usd", "USD"), "dollar", 1),
    (("cent", "\u00a2"), "dollar", Fraction(1, 100)),
    (("\u20ac", "euro", "EUR"), "euro", 1),
    (("\u00a3", "GBP"), "sterling", 1),
    (("\u00a5", "yen"), "yen", 1),
    (("yuan", "CNY"), "yuan", 1),
    (("%", "percent"), "%", 1),
)
_PRODUCTS = {
    "mph": "mile/hour", "kph": "km/h", "kmph": "km/h",
    "l": "dm^3", "L": "dm^3", "liter": "dm^3", "litre": "dm^3",
    "mL": "cm^3", "ml": "cm^3", "milliliter": "cm^3", "millilitre": "cm^3",
    "per cent": "%",
    **{f"{degree} {name}": f"\u00b0{name[0].upper()}" for degree in ("deg", "degree", "degrees")
       for name in ("C", "F", "Celsius", "Fahrenheit", "celsius", "fahrenheit")},
}  # fmt: skip
_GENERIC = frozenset({"unit", "units", "square units", "square unit", "sq units", "cubic units", "cubic unit"})
_POWERS = {"square": 2, "sq": 2, "cubic": 3}
_WORD = "[A-Za-z\u00b5\u03bc\u03a9]+"
_SYMBOL = "[$%\u00b0\u00a2\u20ac\u00a3\u00a5]+[A-Za-z]?"
_FACTOR = re.compile(rf"({_WORD})(?:\^\{{?(-?[1-3])\}}?|(-[1-3]|[23])|([\u00b2\u00b3]))?|({_SYMBOL})")
_LONGEST = 40


def _names() -> Iterator[tuple[str, str, Fraction]]:
    for dimension, scale, symbol, words in _METRIC:
        yield symbol, dimension, Fraction(scale)
        for prefix, factor in {**_PREFIXES, **_FINE_PREFIXES}.items():
            yield prefix + symbol, dimension, Fraction(scale) * factor
        for word in words:
            for prefix, factor in {"": 1, **_LONG_PREFIXES}.items():
                yield prefix + word, dimension, Fraction(scale) * factor
                yield prefix + word + "s", dimension, Fraction(scale) * factor
    for names, dimension, scale in _OTHERS:
        for name in names:
            yield name, dimension, Fraction(scale)
            if len(name) > 1 and name.isalpha():
                yield name + "s", dimension, Fraction(scale)


_TABLE = {name: Unit(((dimension, 1),), scale) for name, dimension, scale in _names()}
_BY_LOWER_CASE = {name: unit for name, unit in _TABLE.items() if len(name) > 3 and name.islower()}


@lru_cache(maxsize=4096)
def read_unit(text: str) -> Unit | None:
    """The unit that a text names.

    Args:
        text: E.g. ``cm``, ``square metres``, ``m/s^2``, ``km per hour``, ``%``, or ``1`` for a proportion.

    Returns:
        The unit, or None if it is not in the table.
    """
    text = " ".join(text.split())
    if not text or len(text) > _LONGEST:
        return None
    if text == "1":
        return PROPORTION
    over = re.split(r"\s*/\s*|\s+per\s+(?!cent\b)", text)
    if len(over) > 2:
        return None
    parts = [_product(part) for part in over]
    top, bottom = parts[0], parts[1] if len(parts) == 2 else PROPORTION
    return None if top is None or bottom is None else _times(top, _power(bottom, -1))


def declared_unit(text: str) -> Unit:
    """The unit that a problem declares; what is in no table ("apples") measures itself."""
    return read_unit(text) or Unit(((f"unit {text}", 1),), Fraction(1))


def generic(text: str) -> bool:
    """Whether a text is a word for a unit that says nothing: ``units``, ``square units``."""
    return " ".join(text.lower().split()) in _GENERIC


def _product(text: str) -> Unit | None:
    if unit := _single(text):
        return unit
    first, _, rest = text.partition(" ")
    if rest and first.lower() in _POWERS:
        unit = _single(rest)
        return _power(unit, _POWERS[first.lower()]) if unit else None
    unit = PROPORTION
    for part in re.split(r"\s*[*\u00b7]\s*|\s+", text):
        match = _FACTOR.fullmatch(part)
        factor = _single(match[1] or match[5]) if match else None
        if match is None or factor is None:
            return None
        written = match[2] or match[3]
        exponent = int(written) if written else {"\u00b2": 2, "\u00b3": 3}.get(match[4], 1)
        unit = _times(unit, _power(factor, exponent))
    return unit


def _single(name: str) -> Unit | None:
    if name in _PRODUCTS:
        return read_unit(_PRODUCTS[name])
    found = _TABLE.get(name) or (_BY_LOWER_CASE.get(name.lower()) if name.isascii() else None)
    if found is None and name.lower().removesuffix("s") in _PRODUCTS and len(name) > 3:
        return read_unit(_PRODUCTS[name.lower().removesuffix("s")])
    return found


def _power(unit: Unit, exponent: int) -> Unit:
    return Unit(tuple((name, power * exponent) for name, power in unit.dimension), unit.scale**exponent)


def _times(first: Unit, second: Unit) -> Unit:
    powers = dict(first.dimension)
    for name, power in second.dimension:
        powers[name] = powers.get(name, 0) + power
    dimension = tuple(sorted((name, power) for name, power in powers.items() if power))
    return Unit(dimension, first.scale * second.scale)
