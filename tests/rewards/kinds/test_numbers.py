"""Numbers are compared by exact value, in the unit of the problem; another dimension or money is wrong."""

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from specs_lab.core.errors import UserError
from specs_lab.rewards.grader import grade
from specs_lab.rewards.units import read_unit


@pytest.mark.parametrize("gold", ["14", "14.0", "+14", "014", "14.", "1.4e1", "fourteen", "$14$", "x = 14"])
@pytest.mark.parametrize(
    "text",
    [
        *("14", "14.0", "14.", "14.000", "+14", "0014", "1.4e1", "140e-1", "1.4\\times 10^{1}", "1.4 \u00d7 10^1"),
        *("Fourteen", "$14$", "\\boxed{14}", "\\text{14}", "**14**", "`14`", '"14"', "\\(14\\)", "\uff11\uff14"),
        *("14;", "\u200b14", "x=14", "14 units", "14 cm", "14^\\circ", "$14", "14%", "The answer is 14."),
    ],
)
def test_an_integer_is_right_in_any_spelling(text: str, gold: str):
    assert grade(text, gold, "integer").correct


@pytest.mark.parametrize(
    "text",
    [
        *("-14", "41", "114", "1.4", "14.5", "14.01", "28/2", "\\frac{28}{2}", "13 2/2", "14 or 15", "14 15"),
        *("1 4", "1,4", "14!", "14\u00b2", "\u0661\u0664", "1\u200b4", "\u202e14", "14,0", "1.4e2", "1.4e1.0"),
        *("forty", "0x0e", "14:1", "7*2", "7+7", "14 apples", "14 x", "fourteen apples", "\\sqrt{196}", "14-"),
        *("--14", "", "x", "about 14", "1.4e999"),
    ],
)
def test_what_is_no_such_integer_is_wrong(text: str):
    assert not grade(text, "14", "integer").correct


@pytest.mark.parametrize(
    ("text", "gold"), [("-0", "0"), ("0", "-0"), ("0.0", "0"), ("000", "0"), ("zero", "0"), ("0e5", "0")]
)
def test_zero_has_no_sign(text: str, gold: str):
    assert grade(text, gold, "integer").correct


@pytest.mark.parametrize(
    ("text", "gold", "correct"),
    [
        *(("1,234", "1234", True), ("1,234,567.0", "1234567", True), ("-1,234", "-1234", True)),
        *(("12,34", "1234", False), ("1,2345", "12345", False), ("1,234", "1.234", False), ("0,125", "125", False)),
        *(("1 234", "1234", False), ("1,2341", "1234", False), ("1.234", "1234", False)),
    ],
)
def test_separators_of_thousands_stand_between_groups_of_three(text: str, gold: str, correct: bool):
    assert grade(text, gold).correct is correct


@pytest.mark.parametrize("kind", ["integer", "number", "fraction"])
@pytest.mark.parametrize("text", ["7 1", "7\n1", "7.0 1", "-seven", "7 7", "7e0000001"])
def test_more_than_a_number_is_wrong_for_every_kind(text: str, kind: str):
    assert not grade(f"<answer>{text}</answer>", "7", kind).correct


@given(st.integers(-(10**30), 10**30), st.integers(-3, 3))
def test_integers_are_equal_if_their_difference_is_zero(gold: int, difference: int):
    for text in (str(gold + difference), f"{gold + difference:,}", f"{gold + difference}.0", f"${gold + difference}$"):
        assert grade(text, str(gold), "integer").correct == (difference == 0)
        assert grade(text, f"{gold:,}", "number").correct == (difference == 0)


@pytest.mark.parametrize("kind", ["number", "fraction"])
@pytest.mark.parametrize("gold", ["0.75", "3/4", "\\frac{3}{4}", ".75"])
@pytest.mark.parametrize(
    "text",
    [
        *("0.75", ".75", "0.750", "3/4", "6/8", "\\frac{3}{4}", "\\frac34", "\\dfrac{3}{4}", "\\frac{6}8"),
        *("7.5e-1", "75e-2", "7.5 \\times 10^{-1}", "1.5/2", "-3/-4", "+0.75", "$\\frac{3}{4}$", "0.75 cm"),
        *("x=0.75",),
    ],
)
def test_a_rational_number_is_right_in_any_notation(text: str, gold: str, kind: str):
    assert grade(text, gold, kind).correct


@pytest.mark.parametrize("kind", ["number", "fraction"])
@pytest.mark.parametrize(
    "text", ["0.7500001", "0.75000000000000000001", "4/3", "-3/4", "3/40", "0.57", "3 4", "3/4 1", "1 3/4"]
)
def test_a_near_miss_is_wrong(text: str, kind: str):
    assert not grade(text, "3/4", kind).correct


@pytest.mark.parametrize("text", ["1 3/4", "1\\frac{3}{4}", "1 \\frac34", "7/4", "1.75", "7:4", "1\\dfrac{3}{4}"])
def test_a_mixed_number_is_a_sum(text: str):
    assert grade(text, "1 3/4", "fraction").correct
    assert grade(text, "7/4", "fraction").correct
    assert not grade(text, "13/4", "fraction").correct


@pytest.mark.parametrize(
    ("text", "correct"), [("3:4", True), ("6:8", True), ("3 to 4", True), ("4:3", False), ("3:0", False)]
)
def test_a_fraction_may_be_written_as_a_ratio_but_a_number_may_not(text: str, correct: bool):
    assert grade(text, "3/4", "fraction").correct is correct
    assert not grade(text, "3/4", "number").correct
    assert not grade(f"{text}:5", "3/4", "fraction").correct


@pytest.mark.parametrize(
    ("gold", "kind"), [("1/0", "number"), ("\\frac{1}{0}", "fraction"), ("x", "number"), ("", "integer")]
)
def test_a_gold_answer_that_is_no_number_is_a_data_error(gold: str, kind: str):
    with pytest.raises(UserError, match=f"type '{kind}'"):
        grade("1", gold, kind)
    assert not grade(gold, "1", kind).correct


@pytest.mark.parametrize("gold", ["7.5", "15/2", "28/2", "\\frac{28}{2}", "7 cats", "1e-1", "7 8"])
def test_a_gold_answer_that_is_not_written_as_an_integer_is_a_data_error(gold: str):
    with pytest.raises(UserError, match="type 'integer'"):
        grade("7", gold, "integer")


@pytest.mark.parametrize(
    ("precision", "gold", "right", "wrong"),
    [
        (0, "3", ["3", "2.5", "3.5", "7/2", "3.4999"], ["2.49", "3.51", "3.5000001", "4"]),
        (1, "3.1", ["3.1", "3.05", "3.15", "3.149"], ["3.16", "3.04", "3.150000001", "3"]),
        (
            2,
            "3.14",
            ["3.14", "3.135", "3.145", "3.14159", "22/7"],
            ["3.1451", "3.13", "3.1", "-3.14", "3.1450000000000000001"],
        ),
        (2, "1/3", ["0.33", "1/3", "0.3333", "0.335"], ["0.3", "0.34", "1/2", "0.339"]),
        (2.0, "-1.00", ["-1", "-1.005", "-0.995"], ["1", "-1.006", "-0.99"]),
    ],
)
def test_with_a_precision_half_a_unit_of_the_last_decimal_is_allowed(
    precision: float, gold: str, right: list, wrong: list
):
    assert [grade(text, gold, "number", precision=precision).correct for text in right] == [True] * len(right)
    assert [grade(text, gold, "number", precision=precision).correct for text in wrong] == [False] * len(wrong)
    assert [grade(text, gold, precision=precision).correct for text in right] == [True] * len(right)


NUMBERS = st.decimals(min_value=-50, max_value=50, places=4)


@given(NUMBERS, NUMBERS, st.integers(0, 3))
@example(Decimal("0.05"), Decimal("0.10"), 1)
@example(Decimal("0.0499"), Decimal("0.10"), 1)
def test_precision_agrees_with_decimal_arithmetic(given_value: Decimal, gold: Decimal, precision: int):
    for text in (given_value, (gold * 7 + given_value) / 8):
        close = abs(Fraction(text) - Fraction(gold)) <= Fraction(1, 2 * 10**precision)
        assert grade(f"{text:f}", f"{gold:f}", "number", precision=precision).correct == close
        assert grade(f"{text:f}", f"{gold:f}", "number").correct == (text == gold)


@pytest.mark.parametrize("precision", [-1, -0.5, 1001, float("nan"), float("inf")])
def test_a_precision_that_makes_no_sense_is_a_user_error(precision: float):
    with pytest.raises(UserError, match="precision"):
        grade("1", "1", "number", precision=precision)


@pytest.mark.parametrize(
    ("text", "gold", "unit", "correct"),
    [
        ("5 cm", "5 cm", None, True),
        ("5", "5 cm", None, True),
        ("0.05 m", "5 cm", None, True),
        ("50 mm", "5 cm", None, True),
        ("5 centimetres", "5 cm", None, True),
        ("$5$ cm", "5 cm", None, True),
        ("5\\text{ cm}", "5 cm", None, True),
        ("5 units", "5 cm", None, True),
        ("5 m", "5 cm", None, False),
        ("50", "5 cm", None, False),
        ("5 kg", "5 cm", None, False),
        ("5 cm^2", "5 cm", None, False),
        ("5 cm\u00b2", "5 cm^2", None, True),
        ("0.0005 m^2", "5 cm^2", None, True),
        ("0.05 m^2", "5 cm^2", None, False),
        ("5 apples", "5 cm", None, False),
        ("5%", "5 cm", None, False),
        ("$5", "5 cm", None, False),
        ("5", "5", "cm", True),
        ("0.05 m", "5", "cm", True),
        ("5 m", "5", "cm", False),
        ("5 kg", "5", "cm", False),
        ("5%", "5", "cm", False),
        ("5", "0.05 m", "cm", True),
        ("0.05", "0.05 m", "cm", False),
        ("5 cm", "5", None, True),
        ("5 kg", "5", None, True),
        ("5 apples", "5", None, False),
        ("36 km/h", "10 m/s", None, True),
        ("36 km per hour", "10", "m/s", True),
        ("10 m", "10 m/s", None, False),
        ("1.5 hours", "90 minutes", None, True),
        ("90^\\circ", "90", None, True),
        ("90\u00b0", "90 degrees", None, True),
        ("90 degrees", "90", "\u00b0", True),
        ("90 cm", "90\u00b0", None, False),
        ("1 year", "12 months", None, True),
        ("365 days", "1 year", None, False),
    ],
)
@pytest.mark.parametrize("kind", [None, "number"])
def test_units(text: str, gold: str, unit: str | None, correct: bool, kind: str | None):
    assert grade(text, gold, kind, unit=unit).correct is correct


@pytest.mark.parametrize(
    ("text", "correct"),
    [("5 m", True), ("500 cm", True), ("5 ms", False), ("5 ms^-1", False), ("5 mm", False), ("5 Mm", False)],
)
def test_no_other_unit_passes_for_the_declared_one(text: str, correct: bool):
    assert grade(text, "5", "number", unit="m").correct is correct


@pytest.mark.parametrize(
    ("text", "unit"), [("5 m", "ms"), ("5 mW", "MW"), ("5 MW", "mW"), ("5 mg", "Mg"), ("5 s", "ms")]
)
def test_a_unit_of_another_scale_or_dimension_is_wrong_however_similar(text: str, unit: str):
    assert not grade(text, "5", unit=unit).correct


@pytest.mark.parametrize(
    ("text", "correct"),
    [
        *(("7", True), ("7 apples", True), ("7 Apples.", True), ("7 apple", True), ("7 units", True)),
        *(("7 oranges", False), ("8 apples", False), ("7 kg", False), ("7%", False), ("$7", False), ("7 m", False)),
        *(("7 apples 1", False),),
    ],
)
@pytest.mark.parametrize("gold", ["7", "7 apples"])
@pytest.mark.parametrize("kind", [None, "integer", "number"])
def test_a_declared_unit_that_is_in_no_table_is_that_word_only(text: str, correct: bool, gold: str, kind: str | None):
    assert grade(text, gold, kind, unit="apples").correct is correct


@pytest.mark.parametrize(
    ("gold", "unit"), [("7 kg", "cm"), ("7 kg", "apples"), ("$7", "\u20ac"), ("7%", "cm"), ("7 \u00b0C", "K")]
)
def test_a_gold_answer_in_another_unit_than_the_declared_one_is_a_data_error(gold: str, unit: str):
    for kind in ("integer", "number"):
        with pytest.raises(UserError, match="gold answer"):
            grade("7", gold, kind, unit=unit)


TEMPERATURES = ["25 \u00b0C", "25 \u00b0F", "25 K"]
MONEYS = ["$5", "\u20ac5", "\u00a35", "\u00a55"]


@pytest.mark.parametrize("decimals", ["", ".50"])
@pytest.mark.parametrize("kind", [None, "number"])
def test_moneys_and_temperatures_are_only_equal_to_themselves(kind: str | None, decimals: str):
    for group in (TEMPERATURES, [money + decimals for money in MONEYS]):
        for text in group:
            for gold in group:
                assert grade(text, gold, kind).correct == (text == gold), (text, gold)


@pytest.mark.parametrize(
    ("text", "gold", "correct"),
    [
        ("$5", "$5", True),
        ("\\$5", "$5", True),
        ("5 dollars", "$5", True),
        ("5 USD", "$5", True),
        ("500 cents", "$5", True),
        ("$5.00", "$5", True),
        ("5", "$5", True),
        ("$5$", "$5", True),
        ("-$5", "-5 dollars", True),
        ("5 euros", "\u20ac5", True),
        ("5\u20ac", "\u20ac5", True),
        ("$6", "$5", False),
        ("$5$ euros", "$5", False),
        ("5 euros", "$5", False),
        ("\\$5", "\u20ac5", False),
        ("$5", "-$5", False),
        ("5%", "$5", False),
        ("5$", "$5", True),
        ("5\\$", "$5", True),
        ("5$", "\u20ac5", False),
        ("$\\$5$", "$5", True),
        ("$\\$5$", "\u20ac5", False),
        ("\u20ac5 dollars", "$5", False),
        ("\u20ac5 units", "$5", False),
        ("\u20ac5 dollars", "\u20ac5", False),
        ("25 degrees Celsius", "25 \u00b0C", True),
        ("25 degree Celsius", "25 \u00b0C", True),
        ("25^\\circ\\text{C}", "25 \u00b0C", True),
    ],
)
def test_money_and_temperature_in_words(text: str, gold: str, correct: bool):
    assert grade(text, gold).correct is correct


@pytest.mark.parametrize(
    ("gold", "unit", "right", "wrong"),
    [
        (
            "12.5",
            "%",
            ["12.5%", "12.5\\%", "12.5 percent", "12.5", "12.5 per cent", "25/2", "$12.5\\%$"],
            ["0.125", "1/8", "125%"],
        ),
        ("0.125", "%", ["0.125%", "0.125", "1/8"], ["12.5%", "12.5"]),
        ("12.5%", "%", ["12.5%", "12.5"], ["0.125", "0.125%"]),
        ("0.125", "1", ["12.5%", "0.125", "1/8", "\\frac18", "12.5\\%"], ["12.5", "0.125%", "125%", "0.125 m"]),
        ("12.5%", "1", ["12.5%", "0.125"], ["12.5", "0.125%"]),
        ("12.5", None, ["12.5%", "12.5", "12.5 percent"], ["0.125", "0.125%"]),
        ("0.125", None, ["0.125", "0.125%"], ["12.5%", "12.5"]),
        ("12.5%", None, ["12.5%", "12.5"], ["0.125", "0.125%"]),
        ("12.5", "cm", ["12.5", "12.5 cm"], ["12.5%", "0.125"]),
        ("12.5", "$", ["12.5", "$12.50"], ["12.5%", "0.125"]),
        ("12.5", "apples", ["12.5", "12.5 apples"], ["12.5%", "0.125"]),
        ("50", "%", ["50%", "50", "fifty"], ["0.5", "1/2"]),
        ("1", "1", ["1", "100%"], ["1%", "100"]),
        ("3/4", "1", ["75%", "0.75"], ["75", "0.75%"]),
    ],
)
@pytest.mark.parametrize("kind", [None, "number"])
def test_per_cent(gold: str, unit: str | None, right: list[str], wrong: list[str], kind: str | None):
    assert [text for text in right if not grade(text, gold, kind, unit=unit).correct] == []
    assert [text for text in wrong if grade(text, gold, kind, unit=unit).correct] == []


@given(
    st.fractions(min_value=-1000, max_value=1000, max_denominator=50),
    st.sampled_from(["mm", "cm", "m", "km", "in", "ft", "mile", "s", "min", "hour", "g", "kg", "lb", "cm^2", "m^2"]),
    st.sampled_from(["mm", "cm", "m", "km", "in", "ft", "mile", "s", "min", "hour", "g", "kg", "lb", "cm^2", "m^2"]),
)
def test_a_converted_number_is_right_and_an_unconverted_one_is_not(number: Fraction, own: str, other: str):
    first, second = read_unit(own), read_unit(other)
    if first.dimension != second.dimension:
        assert not grade(f"{number} {other}", f"{number} {own}", "number").correct
        return
    converted = number * first.scale / second.scale
    assert grade(f"{converted} {other}", f"{number} {own}", "number").correct
    assert grade(f"{converted} {other}", str(number), "number", unit=own).correct
    assert grade(f"{number} {other}", f"{number} {own}", "number").correct == (converted == number)


@pytest.mark.parametrize("gold", ["3:4", "6 : 8", "3 to 4", "3/4", "\\frac{3}{4}", "0.75"])
@pytest.mark.parametrize(
    "text", ["3:4", "3 : 4", "3 to 4", "6:8", "1.5:2", "\\frac{3}{4}", "3/4", "0.75", "$3:4$", "\\boxed{3:4}"]
)
def test_a_ratio_of_two_is_right_in_any_notation(text: str, gold: str):
    assert grade(text, gold, "ratio").correct


@pytest.mark.parametrize(
    "text", ["4:3", "3:5", "3", "3:4:5", "3:4:1", "-3:4", "75%", "3 or 4", "3, 4", "0.7500001", "", "0:0"]
)
def test_another_ratio_is_wrong(text: str):
    assert not grade(text, "3:4", "ratio").correct


@given(
    st.lists(st.integers(0, 9), min_size=2, max_size=4),
    st.lists(st.integers(0, 9), min_size=2, max_size=4),
    st.integers(1, 9),
)
def test_ratios_are_equal_if_their_products_across_are(first: list[int], second: list[int], factor: int):
    if not any(second):
        with pytest.raises(UserError, match="ratio"):
            grade("1:2", ":".join(map(str, second)), "ratio")
        return
    across = all(
        a * d == b * c for a, c in zip(first, second, strict=False) for b, d in zip(first, second, strict=False)
    )
    equal = len(first) == len(second) and any(first) and across
    gold = ":".join(map(str, second))
    assert grade(":".join(map(str, first)), gold, "ratio").correct == equal
    assert grade(" : ".join(str(part * factor) for part in second), gold, "ratio").correct


@pytest.mark.parametrize("kind", ["integer", "number", "fraction"])
def test_a_very_long_number_is_read_or_refused_but_never_an_error(kind: str):
    long = "9" * 5000
    assert grade(long, long, "integer").correct
    assert not grade(long, "9", kind).correct
    assert not grade(f"1/{long}", "9", kind).correct
    assert not grade(f"1e{long}", "9", kind).correct
    assert not grade("1" + "0" * 390 + "e300", "9", kind).correct


def test_reasons_show_both_values():
    assert grade("8", "7", "integer").reason == "8 is not 7"
    assert grade("0.25", "1/3", "number").reason == "0.25 is not 1/3"
    assert grade("5 mm", "5 cm").reason == "not of type integer"
    assert grade("0.3333", "1/3", "number", precision=2).reason == "0.3333 equals 1/3 to 2 decimals"
    assert grade("40%", "50", unit="%", kind="number").reason == "40% is not 50%"
