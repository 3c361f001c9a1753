"""Units: every name means one thing, scales are those of the textbooks, and what is no unit is none."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from specs_lab.rewards.units import PERCENT, PROPORTION, Unit, _names, declared_unit, generic, read_unit

ENTRIES = list(_names())
SINGLE = sorted({name for name, *_ in ENTRIES if name.isalpha()})


def unit(text: str) -> Unit:
    found = read_unit(text)
    assert found is not None, text
    return found


def test_no_name_has_two_meanings():
    meanings: dict[str, set] = {}
    for name, dimension, scale in ENTRIES:
        meanings.setdefault(name, set()).add((dimension, scale))
    assert {name: found for name, found in meanings.items() if len(found) > 1} == {}


def test_words_are_read_in_any_case_and_symbols_only_as_they_are_written():
    for name, dimension, scale in ENTRIES:
        for other in {name.upper(), name.capitalize()} - {entry[0] for entry in ENTRIES}:
            if len(name) > 4 and name.islower():
                assert read_unit(other) == Unit(((dimension, 1),), scale), other
            elif len(name) < 4:
                assert read_unit(other) is None, other


def test_every_name_of_the_table_is_read_as_what_it_says():
    assert len(ENTRIES) > 300
    for name, dimension, scale in ENTRIES:
        assert read_unit(name) == Unit(((dimension, 1),), scale), name
        assert scale > 0


@pytest.mark.parametrize(
    ("larger", "smaller", "factor"),
    [
        ("km", "m", 1000),
        ("m", "cm", 100),
        ("m", "dm", 10),
        ("cm", "mm", 10),
        ("mm", "\u00b5m", 1000),
        ("\u00b5m", "nm", 1000),
        ("kilometres", "meters", 1000),
        ("micrometer", "\u03bcm", 1),
        ("nanometre", "nm", 1),
        ("milligrams", "mg", 1),
        ("centigram", "cg", 1),
        ("decimeter", "dm", 1),
        ("megahertz", "MHz", 1),
        ("gigawatts", "GW", 1),
        ("inch", "cm", Fraction("2.54")),
        ("in", "inches", 1),
        ("foot", "in", 12),
        ("feet", "ft", 1),
        ("yard", "ft", 3),
        ("mile", "yd", 1760),
        ("miles", "km", Fraction("1.609344")),
        ("kg", "g", 1000),
        ("g", "mg", 1000),
        ("tonne", "kg", 1000),
        ("lb", "kg", Fraction("0.45359237")),
        ("pounds", "oz", 16),
        ("min", "s", 60),
        ("hour", "minutes", 60),
        ("day", "h", 24),
        ("week", "days", 7),
        ("s", "ms", 1000),
        ("year", "months", 12),
        ("L", "mL", 1000),
        ("m^3", "L", 1000),
        ("litre", "cm^3", 1000),
        ("mL", "cm^3", 1),
        ("km^2", "m^2", 10**6),
        ("square metres", "cm^2", 10**4),
        ("cubic meters", "dm^3", 1000),
        ("sq ft", "square inches", 144),
        ("m/s", "km/h", Fraction("3.6")),
        ("kph", "km per hour", 1),
        ("mph", "km/h", Fraction("1.609344")),
        ("kN", "newtons", 1000),
        ("MW", "kW", 1000),
        ("MW", "mW", 10**9),
        ("GHz", "MHz", 1000),
        ("k\u03a9", "ohm", 1000),
        ("dollar", "cents", 100),
        ("$", "USD", 1),
        ("\u20ac", "euros", 1),
        ("%", "percent", 1),
        ("per cent", "%", 1),
        ("\u00b0", "degrees", 1),
        ("deg C", "\u00b0C", 1),
        ("degrees Fahrenheit", "\u00b0F", 1),
    ],
)
def test_conversions_are_those_of_the_textbooks(larger: str, smaller: str, factor: int | Fraction):
    assert unit(larger).dimension == unit(smaller).dimension
    assert unit(larger).scale / unit(smaller).scale == factor


@pytest.mark.parametrize(
    "kinds",
    [
        ["m", "m^2", "m^3", "s", "kg", "N", "J", "W", "Pa", "V", "A", "\u03a9", "Hz", "mol", "m/s", "m/s^2", "N*m"],
        ["\u00b0C", "\u00b0F", "K", "\u00b0"],  # never converted
        ["$", "\u20ac", "\u00a3", "\u00a5"],
        ["degree", "radian"],
        ["month", "day"],
        ["%", "1"],
    ],
)
def test_different_things_have_different_dimensions(kinds: list[str]):
    assert len({unit(kind).dimension for kind in kinds}) == len(kinds)


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("m\u00b2", "m^2"),
        ("cm\u00b3", "cm^3"),
        ("m/s\u00b2", "m/s^2"),
        ("m^{2}", "m^2"),
        ("m2", "m^2"),
        ("m s^{-1}", "m/s"),
        ("m s^-2", "m/s^2"),
        ("N\u00b7m", "N m"),
        ("N * m", "N m"),
        ("  km \n per  hour ", "km/h"),
        ("Kilograms", "kg"),
        ("LITRES", "L"),
        ("square cm", "cm^2"),
        ("kg m/s^2", "m kg/s^2"),
        ("degree Celsius", "\u00b0C"),
        ("degree Fahrenheit", "\u00b0F"),
    ],
)
def test_a_unit_has_many_spellings(text: str, same: str):
    assert read_unit(text) == unit(same)


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "cat", "apples", "x", "M", "k", "MM", "1s", "2", "/", "m/", "/m", "m/s/s/s", "m^4", "m^0", "m^"),
        *("^2", "m+s", "m-", "cm cat", "square", "square cat", "per", "per hour", "m" * 41, "m\u2074", "pc"),
        *("\u043c", "\u0441m"),
    ],
)
def test_what_is_no_unit_is_none(text: str):
    assert read_unit(text) is None


def test_a_unit_of_forty_characters_is_read_and_a_longer_one_is_not():
    assert read_unit(" ".join(["m"] * 20)) == Unit((("length", 20),), Fraction(1))
    assert read_unit(" ".join(["m"] * 20) + " m") is None


def test_a_declared_unit_that_is_in_no_table_measures_nothing_but_itself():
    assert declared_unit("cm") == read_unit("cm")
    assert declared_unit("apples").dimension not in {read_unit(name).dimension for name in SINGLE}
    assert declared_unit("apples").dimension != declared_unit("pears").dimension


def test_units_that_are_pure_numbers():
    assert read_unit("1") == PROPORTION == unit("m/m")
    assert read_unit("%") == PERCENT


@given(st.sampled_from(SINGLE), st.sampled_from(SINGLE), st.integers(1, 3))
def test_products_powers_and_quotients_follow_the_rules_of_arithmetic(first: str, second: str, power: int):
    assert unit(f"{first}*{second}") == unit(f"{second} {first}")
    assert unit(f"{first}/{first}") == PROPORTION
    assert unit(f"{first}^{power}") == unit("*".join([first] * power))
    if second != "cent":  # "per cent" is %
        assert unit(f"{first} per {second}") == unit(f"{first} {second}^-1")
    assert unit(f"{first}/{second}").scale == unit(first).scale / unit(second).scale


@pytest.mark.parametrize("text", ["units", "unit", "Square  Units", "sq units", "cubic units", " UNITS "])
def test_words_for_any_unit_say_nothing(text: str):
    assert generic(text)
    assert read_unit(text) is None


@pytest.mark.parametrize("text", ["", "cm", "unity", "square", "units cm"])
def test_other_words_are_no_words_for_any_unit(text: str):
    assert not generic(text)
