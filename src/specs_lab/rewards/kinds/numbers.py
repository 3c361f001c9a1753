"""Numbers: integers, decimals, fractions, ratios; with units, per cent and precision."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from typing import ClassVar

from specs_lab.rewards.kinds.base import AnswerKind, Outcome, Terms, equality, kind
from specs_lab.rewards.kinds.writing import plain, visible
from specs_lab.rewards.quantities import Quantity, read_quantity, read_ratio
from specs_lab.rewards.units import PERCENT, PROPORTION, Unit, declared_unit

_INTEGER = re.compile(r"([+-]?)([0-9]+|[1-9][0-9]{0,2}(?:,[0-9]{3})+)(?:\.0*)?")
_LONGEST_SHOWN = 30
_LARGE = 10**12


@dataclass(frozen=True)
class Measured:
    """A number in the unit of the problem.

    Attributes:
        value: In the problem's unit if it has one.
        text: As it is shown in reasons.
    """

    value: Fraction
    text: str


def _shown(value: Fraction, unit: Unit | None) -> str:
    decimal = f"{float(value):g}" if abs(value) < _LARGE else ""
    text = decimal if decimal and Fraction(decimal) == value else str(value)
    short = text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}\u2026"
    return f"{short}%" if unit == PERCENT else short


def _measured(text: str, terms: Terms, gold_unit: Unit | None) -> tuple[Quantity, Measured] | None:
    """A number converted to the unit of the gold answer; None if it is none, or measures something else.

    Where neither the problem nor its gold answer has a unit, that of an answer cannot be checked and is ignored.
    """
    quantity = read_quantity(text, terms.unit)
    if quantity is None:
        return None
    value, unit = quantity.value, quantity.unit
    if unit is not None and gold_unit is not None:
        if gold_unit == PROPORTION and unit == PERCENT:
            value = value / 100
        elif unit.dimension != gold_unit.dimension:
            return None
        else:
            value = value * unit.scale / gold_unit.scale
    return quantity, Measured(value, _shown(value, gold_unit))


class _Number(AnswerKind["InUnit"]):
    """What all numbers have in common."""

    def read_gold(self, text: str, terms: Terms) -> InUnit | None:
        """The number, in the declared unit or else in its own."""
        declared = declared_unit(terms.unit) if terms.unit else None
        own = read_quantity(text, terms.unit)
        if own is None:
            return None
        read = _measured(text, terms, declared or own.unit)
        return None if read is None else InUnit(read[1], declared or own.unit)

    def read(self, text: str, gold: InUnit, terms: Terms) -> InUnit | None:
        """The number, in the unit of the gold answer."""
        read = _measured(text, terms, gold.unit)
        return None if read is None else InUnit(read[1], gold.unit)

    def compare(self, given: InUnit, gold: InUnit, terms: Terms) -> Outcome:
        """Equal if the values are; with a precision, if they differ by half a unit of its last decimal at most."""
        return compare_values(given.number, gold.number, terms.precision)


@dataclass(frozen=True)
class InUnit:
    """A number and the unit that it is in, or None."""

    number: Measured
    unit: Unit | None


def tolerance(precision: float) -> Fraction:
    """Half a unit of the last decimal that counts."""
    return Fraction(1, 2) / Fraction(10) ** int(precision)


def compare_values(given: Measured, gold: Measured, precision: float | None) -> Outcome:
    """Compares two numbers of the same unit, exactly or to some decimals."""
    if given.value == gold.value:
        return Outcome(True, f"{given.text} equals {gold.text}")
    if precision is None or abs(given.value - gold.value) > tolerance(precision):
        return Outcome(False, f"{given.text} is not {gold.text}")
    return Outcome(True, f"{given.text} equals {gold.text} to {int(precision)} decimals")


@kind
class Number(_Number):
    """A rational number in any notation, compared exactly unless a precision is given."""

    name: ClassVar[str] = "number"


@dataclass(frozen=True)
class Whole:
    """A whole number in the unit of the problem.

    Attributes:
        digits: Its decimal digits, after a minus sign if it is negative.
        unit: Its unit, or None.
    """

    digits: str
    unit: Unit | None = None


@kind
class Integer(AnswerKind[Whole]):
    """A whole number, written as such: 14, 14.0, 1,234, 1.4e1, fourteen; not 28/2."""

    name: ClassVar[str] = "integer"

    def read_gold(self, text: str, terms: Terms) -> Whole | None:
        """The number; None unless it is whole."""
        unit = declared_unit(terms.unit) if terms.unit else None
        if digits := _usual_digits(text):
            return Whole(digits, unit)
        own = read_quantity(text, terms.unit)
        return None if own is None else self.read(text, Whole("", unit or own.unit), terms)

    def read(self, text: str, gold: Whole, terms: Terms) -> Whole | None:
        """The number in the unit of the gold answer; None unless it is written as a whole one."""
        if digits := _usual_digits(text):
            return Whole(digits, gold.unit)
        measured = _measured(text, terms, gold.unit)
        if measured is None or measured[0].fraction or measured[1].value.denominator != 1:
            return None
        return Whole(str(measured[1].value), gold.unit)

    def compare(self, given: Whole, gold: Whole, terms: Terms) -> Outcome:
        """Equal if the digits are."""
        return equality(given.digits, gold.digits)


@kind
class FractionNumber(_Number):
    """A fraction, compared by value: 3/4 equals 6/8, 0.75 and 3:4."""

    name: ClassVar[str] = "fraction"

    def read(self, text: str, gold: InUnit, terms: Terms) -> InUnit | None:
        """The number; a ratio of two is one as well."""
        parts = read_ratio(text)
        if parts is not None and len(parts) == 2 and parts[1] and gold.unit in (None, PROPORTION):
            value = parts[0] / parts[1]
            return InUnit(Measured(value, _shown(value, None)), None)
        return super().read(text, gold, terms)


@kind
class Ratio(AnswerKind[tuple[Fraction, ...]]):
    """A ratio of two or more numbers, equal to its multiples; one of two may be written as a fraction."""

    name: ClassVar[str] = "ratio"

    def read_gold(self, text: str, terms: Terms) -> tuple[Fraction, ...] | None:
        """The parts, so that the first that is not 0 is 1 (or -1)."""
        parts = read_ratio(text)
        if parts is None:
            own = read_quantity(text)
            if own is None or own.unit is not None:
                return None
            parts = (own.value, Fraction(1))
        first = next(abs(part) for part in parts if part)
        return tuple(part / first for part in parts)

    def compare(self, given: tuple[Fraction, ...], gold: tuple[Fraction, ...], terms: Terms) -> Outcome:
        """Equal if one is a multiple of the other."""
        shown = [":".join(map(str, parts)) for parts in (given, gold)]
        return equality(*shown)


def _usual_digits(text: str) -> str | None:
    """The digits of an integer in the usual notation; None if it is another one, or no integer.

    Leading zeros are dropped. They stay text, as Python refuses to make a number of more than 4300 of them.
    """
    match = _INTEGER.fullmatch(text)
    if match is None:
        seen = visible(text)
        if seen is None or seen.count("$") == 1:  # dollars, not mathematics mode
            return None
        if (match := _INTEGER.fullmatch(plain(seen, ".,;:"))) is None:
            return None
    digits = match[2].replace(",", "").lstrip("0") or "0"
    return digits if match[1] != "-" or digits == "0" else f"-{digits}"
