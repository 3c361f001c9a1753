"""Numbers are read exactly, in every usual notation, and nothing that only resembles one is read at all."""

import re
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from specs_lab.rewards.quantities import LONGEST, Quantity, read_quantity, read_ratio
from specs_lab.rewards.units import PERCENT, declared_unit, read_unit

ONES = [
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"),
    *("thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"),
]
TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]


def value(text: str, unit_name: str | None = None) -> Fraction | None:
    quantity = read_quantity(text, unit_name)
    return None if quantity is None else quantity.value


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("7", 7),
        ("+7", 7),
        ("-7", -7),
        ("- 7", -7),
        ("\u22127", -7),
        ("\uff0d\uff17", -7),
        ("-0", 0),
        ("007", 7),
        ("7.", 7),
        (".5", Fraction(1, 2)),
        ("-.5", Fraction(-1, 2)),
        ("0.10", Fraction(1, 10)),
        ("1,234", 1234),
        ("12,345,678.5", Fraction(24691357, 2)),
        ("1{,}234", 1234),
        ("1\\,234", 1234),
        ("1e3", 1000),
        ("1E+3", 1000),
        ("1e-3", Fraction(1, 1000)),
        ("1.4\\times 10^{1}", 14),
        ("1.4 \\cdot 10^{ -2 }", Fraction(7, 500)),
        ("1.4 \u00d7 10^2", 140),
        ("1.4*10^+2", 140),
        ("3/4", Fraction(3, 4)),
        ("3 / 4", Fraction(3, 4)),
        ("-3/4", Fraction(-3, 4)),
        ("3/-4", Fraction(-3, 4)),
        ("1.5/2", Fraction(3, 4)),
        ("\\frac{3}{4}", Fraction(3, 4)),
        ("\\frac34", Fraction(3, 4)),
        ("\\frac{3}4", Fraction(3, 4)),
        ("\\dfrac{ 3 }{ 4 }", Fraction(3, 4)),
        ("\\tfrac34", Fraction(3, 4)),
        ("\\frac{-3}{4}", Fraction(-3, 4)),
        ("-\\frac{-3}{4}", Fraction(3, 4)),
        ("\\frac{0.5}{2}", Fraction(1, 4)),
        ("\\frac{1,000}{2}", 500),
        ("1 3/4", Fraction(7, 4)),
        ("-1 3/4", Fraction(-7, 4)),
        ("1\\frac{3}{4}", Fraction(7, 4)),
        ("1 \\frac34", Fraction(7, 4)),
        ("\\approx 3.14", Fraction(157, 50)),
        ("x = 5", 5),
        ("x_{12}=5", 5),
        ("$5$", 5),
        ("\\(5\\)", 5),
        ("\\text{5}", 5),
        ("\\boxed{\\text{5}}", 5),
        ("**5**.", 5),
        ("`5`", 5),
        ("'5'", 5),
        ("\u200b 5 \ufeff", 5),
        ("5,", 5),
        ("Seven.", 7),
        ("a hundred", 100),
    ],
)
def test_a_number_is_read_in_any_notation(text: str, expected: int | Fraction):
    assert value(text) == expected
    assert read_quantity(text).unit is None


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", ".", "-", "--7", "+-7", "1,23", "1,2345", "1,234,5", ",123", "1..2", "1.2.3", "1e", "e5"),
        *("1e5.5", "10^2", "1/0", "\\frac{1}{0}", "1 3/0", "1 4/3", "1 4/4", "3/4/5", "1 2", "7 8", "7 or 8"),
        *("7 8 9", "28/2 3", "12/5 3", "7\u00b2", "\u0667", "\u00bd", "5!", "5?", "5 apples", "5x", "x", "ab = 5"),
        *("5 = x", "x == 5", "f(x) = 5", "inf", "nan", "0x10", "1_000", "4\u200b2", "\u202e42", "42\u202c"),
        *("4\x002", "3%%", "\\frac{x}{2}", "\\frac{1}", "1 234", "eleventy", "hundred one", "twenty zero"),
        *("seven eight", "seven apples", "one half", "\u0441m", "5 \u043c"),
    ],
)
def test_what_is_no_number_is_none(text: str):
    assert read_quantity(text) is None


@pytest.mark.parametrize("text", ["7 1", "1,2341", "0.5 1", "1/2 1", "\\frac{1}{2}1", "7\n1"])
@pytest.mark.parametrize("unit_name", [None, "1", "cm"])
def test_a_second_number_is_no_unit_of_the_first(text: str, unit_name: str | None):
    assert read_quantity(text, unit_name) is None


@pytest.mark.parametrize("text", ["0,125", "0,123.5", "00,123", "012,345"])
def test_a_group_of_thousands_does_not_follow_a_zero(text: str):
    assert read_quantity(text) is None


@pytest.mark.parametrize("text", ["-seven", "--seven", "twenty--one", "-twenty-one", "seven-"])
def test_a_sign_before_a_number_word_is_not_dropped(text: str):
    assert value(text) in (None, -7 if "seven" in text else -21)


def test_number_words_up_to_ninety_nine():
    words = {number: [word] for number, word in enumerate(ONES)}
    for place, ten in enumerate(TENS, start=2):
        words[10 * place] = [ten]
        words.update({10 * place + one: [f"{ten} {ONES[one]}", f"{ten}-{ONES[one]}"] for one in range(1, 10)})
    assert len(words) == 100
    for number, spellings in words.items():
        for spelling in spellings:
            assert value(spelling) == value(spelling.upper()) == number


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        *(("1e300", 10**300), ("1e-300", Fraction(1, 10**300)), ("1e301", None), ("1e-301", None), ("0e301", None)),
        *(("1e999999999", None), ("1e-999999999", None), ("1*10^{301}", None), ("1e+0300", 10**300)),
        *(("2e0000000", 2), ("1e0000005", 10**5), ("1e-0000005", Fraction(1, 10**5)), ("1e00000000301", None)),
    ],
)
def test_exponents_are_limited_by_their_value_not_cut_short(text: str, expected: int | Fraction | None):
    assert value(text) == expected


def test_a_number_of_the_greatest_length_is_read_and_a_longer_one_is_not():
    assert value("9" * LONGEST) == 10**LONGEST - 1
    assert read_quantity("9" * (LONGEST + 1)) is None
    assert read_ratio("1:" + "9" * (LONGEST - 2)) is not None
    assert read_ratio("1:" + "9" * (LONGEST - 1)) is None


@pytest.mark.parametrize(
    ("text", "number", "unit"),
    [
        ("5cm", 5, "cm"),
        ("5 cm.", 5, "cm"),
        ("5\\,\\text{cm}", 5, "cm"),
        ("5\\text{ cm}^2", 5, "cm^2"),
        ("5 cm\u00b2", 5, "cm^2"),
        ("$5\\,\\mathrm{m/s}^2$", 5, "m/s^2"),
        ("5 km per hour", 5, "km/h"),
        ("-5 m", -5, "m"),
        ("1e3 m", 1000, "m"),
        ("1/2 m", Fraction(1, 2), "m"),
        ("1/2m", Fraction(1, 2), "m"),
        ("1 3/4 kg", Fraction(7, 4), "kg"),
        ("\\frac{1}{2}\\text{ m}", Fraction(1, 2), "m"),
        ("x = 5 cm", 5, "cm"),
        ("90\u00b0", 90, "deg"),
        ("90^\\circ", 90, "deg"),
        ("90^{\\circ}", 90, "deg"),
        ("90 degrees", 90, "deg"),
        ("25 \u00b0C", 25, "\u00b0C"),
        ("25 \u00b0 C", 25, "\u00b0C"),
        ("25^\\circ C", 25, "\u00b0C"),
        ("25^{\\circ}\\text{C}", 25, "\u00b0C"),
        ("-40 degrees Fahrenheit", -40, "\u00b0F"),
        ("12.5%", Fraction(25, 2), "%"),
        ("12.5\\%", Fraction(25, 2), "%"),
        ("12.5 per cent", Fraction(25, 2), "%"),
        ("$5", 5, "$"),
        ("\\$5", 5, "$"),
        ("-$5", -5, "$"),
        ("$.50", Fraction(1, 2), "$"),
        ("$1,234.50", Fraction(2469, 2), "$"),
        ("\u20ac 5", 5, "\u20ac"),
        ("5\u20ac", 5, "\u20ac"),
        ("\u00a35", 5, "\u00a3"),
        ("5 dollars", 5, "$"),
        ("50 cents", 50, "cent"),
    ],
)
def test_a_unit_is_read_with_its_number(text: str, number: int | Fraction, unit: str):
    quantity = read_quantity(text)
    assert quantity is not None
    assert (quantity.value, quantity.unit) == (number, read_unit(unit))


@pytest.mark.parametrize("text", ["5 units", "5 square units", "\\(5\\) units"])
def test_a_unit_that_says_nothing_is_left_out(text: str):
    assert read_quantity(text) == Quantity(Fraction(5))


@pytest.mark.parametrize("text", ["$5 cm", "\u20ac5 dollars", "$5 apples", "5 cm kg cat", "5 cm 6"])
def test_two_units_that_are_no_product_are_none(text: str):
    assert read_quantity(text) is None


def test_dollar_signs_around_a_number_are_mathematics_mode():
    assert read_quantity("$5$").unit is None
    assert read_quantity("$5\\%$").unit == PERCENT


@pytest.mark.parametrize(
    ("text", "number", "unit"),
    [("$5$ cm", 5, "cm"), ("$\\frac{1}{2}$ m", Fraction(1, 2), "m"), ("$5$%", 5, "%"), ("$5$ dollars", 5, "$")],
)
def test_a_unit_may_follow_mathematics_mode(text: str, number: int | Fraction, unit: str):
    assert read_quantity(text) is not None
    assert (read_quantity(text).value, read_quantity(text).unit) == (number, read_unit(unit))


@pytest.mark.parametrize(("text", "fraction"), [("3/4", True), ("\\frac34", True), ("1 3/4", True), ("0.75", False)])
def test_whether_it_is_written_as_a_fraction(text: str, fraction: bool):
    assert read_quantity(text).fraction is fraction


@pytest.mark.parametrize("text", ["7 apples", "7 Apples", "7 apple", "\\text{7 apples}"])
def test_a_declared_unit_is_understood_though_it_is_in_no_table(text: str):
    assert read_quantity(text) is None
    assert value(text, "apples") == 7
    assert read_quantity(text, "apples").unit == declared_unit("apples")
    assert read_quantity(text, "oranges") is None


@pytest.mark.parametrize(
    ("text", "declared"),
    [("5 ms", "m"), ("5 m", "ms"), ("5 mW", "MW"), ("5 MW", "mW"), ("5 Mm", "mm"), ("5 mm", "Mm"), ("5 cm", "m")],
)
def test_a_unit_of_the_table_is_never_taken_for_the_declared_one(text: str, declared: str):
    assert read_quantity(text, declared) == Quantity(Fraction(5), read_unit(text.split()[1]))


DECIMALS = st.decimals(min_value=-(10**9), max_value=10**9, allow_nan=False, allow_infinity=False, places=4)
WRAPPERS = ["{}", "${}$", "**{}**", " {} \n", "{}.", "\\({}\\)", "x = {}", "\u200b{}\u200b", '"{}"']


@given(DECIMALS, st.sampled_from(WRAPPERS))
@example(Decimal("-0.0000"), "{}")
def test_a_decimal_is_worth_what_it_is_worth_to_the_decimal_module(number: Decimal, wrapper: str):
    expected = Fraction(number)
    spellings = [f"{number:f}", f"{number:,f}", f"{number:e}".replace("e", "E"), f"{number:f}".replace("-", "\u2212")]
    mantissa, exponent = f"{number:e}".split("e")
    spellings.append(f"{mantissa} \\times 10^{{{int(exponent)}}}")
    assert [value(wrapper.format(spelling)) for spelling in spellings] == [expected] * len(spellings)


@given(st.integers(-(10**6), 10**6), st.integers(1, 10**6), st.sampled_from(WRAPPERS))
def test_a_fraction_is_worth_its_quotient(top: int, under: int, wrapper: str):
    expected = Fraction(top, under)
    sign, size = "-" if top < 0 else "", abs(top)
    whole, part = divmod(size, under)
    spellings = [
        f"{top}/{under}",
        f"{top} / {under}",
        f"\\frac{{{top}}}{{{under}}}",
        f"{sign}\\dfrac{{{size}}}{{{under}}}",
    ]
    if whole:
        spellings += [f"{sign}{whole} {part}/{under}", f"{sign}{whole}\\frac{{{part}}}{{{under}}}"]
    if size < 10 and under < 10:
        spellings.append(f"{sign}\\frac{size}{under}")
    assert [value(wrapper.format(spelling)) for spelling in spellings] == [expected] * len(spellings)


@given(st.text("0123456789.,-+ /:e", max_size=9))
def test_what_is_read_of_digits_and_signs_is_what_a_strict_reader_reads(text: str):
    """The reader: plain decimals with groups of three digits, at most one bar, an exponent or a mixed fraction."""
    number = r"(?:[1-9][0-9]{0,2}(?:,[0-9]{3})+(?:\.[0-9]*)?|[0-9]+(?:\.[0-9]*)?|\.[0-9]+)"
    bare = text.strip().rstrip(".,;: ") if not re.fullmatch(rf"\s*[+-]?{number}\s*", text) else text.strip()
    bare = re.sub(r"\s+", " ", bare)
    found = value(text)
    if re.fullmatch(rf"[+-]?{number}", bare):
        assert found == Fraction(bare.replace(",", ""))
    elif match := re.fullmatch(rf"([+-]?)({number})/({number})", bare):
        top, under = (Fraction(match[place].replace(",", "")) for place in (2, 3))
        assert found == (None if not under else -top / under if match[1] == "-" else top / under)
    elif not re.fullmatch(rf"[+-]? ?{number}(?:e[+-]?[0-9]+)?|[+-]? ?(?:[0-9]+ )?{number} ?/ ?[+-]? ?{number}", bare):
        assert found is None


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("3:4", (3, 4)),
        ("3 : 4", (3, 4)),
        ("3 to 4", (3, 4)),
        ("3 TO 4", (3, 4)),
        ("6:8", (6, 8)),
        ("1:2:3", (1, 2, 3)),
        ("1 to 2 to 3", (1, 2, 3)),
        ("1.5:2", (Fraction(3, 2), 2)),
        ("1,000:2", (1000, 2)),
        ("0:3", (0, 3)),
        ("3:0", (3, 0)),
        ("$3:4$", (3, 4)),
        ("\\text{3:4}.", (3, 4)),
        ("\uff13\uff1a\uff14", (3, 4)),
    ],
)
def test_a_ratio_is_read_as_it_is_written(text: str, parts: tuple):
    assert read_ratio(text) == parts


@pytest.mark.parametrize(
    "text",
    [
        *("", "3", "3:", ":3", "3::4", "0:0", "0:0:0", "-3:4", "3:-4", "3/4", "3:x", "3to4", "3 to", "3:4 cm"),
        *("3:4 5", "3 or 4", "3:\u200b4", "three to four", "1:2 = 2:4", "\u0663:4"),
    ],
)
def test_what_is_no_ratio_is_none(text: str):
    assert read_ratio(text) is None


@given(st.lists(st.integers(0, 10**6), min_size=2, max_size=5), st.sampled_from([":", " : ", ": ", " to "]))
def test_ratios_have_the_parts_that_are_written(parts: list[int], separator: str):
    assert read_ratio(separator.join(map(str, parts))) == (tuple(parts) if any(parts) else None)
