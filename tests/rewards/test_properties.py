"""What holds for all answers: a value is right in every spelling and no other value in any, whoever is the gold answer.

The spellings are written here from the values, and know nothing of how the grader reads them.
"""

import string
from collections.abc import Callable, Hashable, Sequence
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from specs_lab.rewards.extraction import answer_in, extract
from specs_lab.rewards.grader import grade, grade_many
from specs_lab.rewards.kinds.base import KINDS

DECORATIONS = [
    *(
        "{}",
        " {}\n",
        "{}.",
        "{},",
        "${}$",
        "$${}$$.",
        "\\( {} \\)",
        "**{}**",
        "`{}`",
        '"{}"',
        "\\boxed{{{}}}",
        "#### {}",
    ),
    *("\u200b{}\ufeff", "\u200e{}\u200f", "\u00ad{}", "<answer> {} </answer>", "<think> 3 or B </think> {}"),
    *("\\text{{{}}}", "\\boxed{{\\text{{{}}}}}", "The answer is **{}**"),
    "<think> <answer>no</answer> </think> <final>{}</final>",
]
NUMERALS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]


def full_width(text: str) -> str:
    return "".join(chr(ord(letter) + 0xFEE0) if "!" <= letter <= "~" else letter for letter in text)


def integer_ways(value: int) -> list[str]:
    size, sign = str(abs(value)), "-" if value < 0 else ""
    power = f"{sign}{size[0]}.{size[1:] or '0'}", len(size) - 1
    ways = [f"{value}", f"{value:,}", f"{value}.0", f"{value:,}.00", f"{value:+}", f"x = {value}"]
    ways += [full_width(str(value)), f"{value}".replace("-", "\u2212")]
    ways += [f"{power[0]}e{power[1]}", f"{power[0]} \\times 10^{{{power[1]}}}"]
    return ways + (NUMERALS[value : value + 1] if value >= 0 else [])


def number_ways(value: Fraction) -> list[str]:
    decimal = f"{float(value):.4f}"
    ways = [decimal, decimal.replace("0.", ".", 1) if abs(value) < 1 else decimal, f"{decimal}e0", f"{decimal}0"]
    return [*ways, f"{float(value * 100):.2f}e-2", *fraction_ways(value)]


def fraction_ways(value: Fraction) -> list[str]:
    top, under, sign = value.numerator, value.denominator, "-" if value < 0 else ""
    ways = [f"{top}/{under}", f"{3 * top} / {3 * under}", f"\\dfrac{{{top}}}{{{under}}}"]
    ways += [f"{sign}\\frac{{{abs(top)}}}{{{under}}}"]
    whole, rest = divmod(abs(top), under)
    ways += [f"{sign}{whole} {rest}/{under}", f"{sign}{whole}\\frac{{{rest}}}{{{under}}}"] if whole and rest else []
    return ways


def ratio_ways(value: tuple[int, ...]) -> list[str]:
    ways = [sign.join(str(part * times) for part in value) for sign in (":", " : ", " to ") for times in (1, 2, 7)]
    return ways + ([f"{value[0]}/{value[1]}", f"\\frac{{{value[0]}}}{{{value[1]}}}"] if len(value) == 2 else [])


def word_ways(value: tuple[str, ...]) -> list[str]:
    text = " ".join(value)
    ways = [text, text.upper(), text.title(), f"the {text}", f"A {text}", f"An  {text}"]
    return [*ways, "\t".join(value), "\u00a0 ".join(value)]


def choice_ways(value: frozenset[str]) -> list[str]:
    one, *more = sorted(value)
    if more:
        back = [*more[::-1], one]
        return [sign.join(back) for sign in (", ", ",", " and ", "")] + [f"({') ('.join([one, *more])})"]
    ways = [one, one.lower(), f"({one})", f"({one.lower()})", f"{one})", f"{one}.", f"{one}. 5"]
    return [*ways, f"{one}: right", f"Option {one}"]


def truth_ways(value: bool) -> list[str]:
    said = ["yes", "true", "correct"] if value else ["no", "false", "incorrect"]
    return [*said, *(word.upper() for word in said), f"{said[0].title()}, because of the sum.", f"{said[1]}!"]


ELEMENTS = {
    "1": ["1", "1.0", "+1"],
    "12": ["12", "12.0"],
    "half": ["0.5", "\\frac{1}{2}", "1/2"],
    "red": ["red", "RED"],
    "blue": ["blue", "Blue"],
}


def list_ways(value: tuple[str, ...]) -> list[str]:
    signs = ", ", ",", "; ", " and "
    ways = [sign.join(ELEMENTS[part][index % 2] for part in value) for index, sign in enumerate(signs)]
    return [*ways, f"({ways[0]})", f"[{ways[1]}]", f"\\left( {ways[2]} \\right)"]


def set_ways(value: frozenset[str]) -> list[str]:
    parts = sorted(value)
    if not parts:
        return ["\\emptyset", "{}", "\\{\\}", "\\{ \\}"]
    back = ", ".join(ELEMENTS[part][-1] for part in parts[::-1])
    again = ",".join(ELEMENTS[part][0] for part in [*parts, parts[0]])
    return [f"{{{back}}}", f"\\{{{again}\\}}", f"\\left\\{{{back}\\right\\}}", f"{{{again}}}"]


Bounds = tuple[int | None, bool, int | None, bool]


def interval_ways(value: Bounds) -> list[str]:
    low, low_in, high, high_in = value
    first, last = "-\\infty" if low is None else f"{low}", "\\infty" if high is None else f"{high}.0"
    inside = f"{'[' if low_in else '('}{first}, {last}{']' if high_in else ')'}"
    ways = [inside, f"\\left{inside[:-1]}\\right{inside[-1]}", f"x \\in {inside}"]
    below, above = "\\le" if low_in else "<", "<=" if high_in else "\\lt"
    if low is not None and high is not None:
        middle = low + 0.5
        halves = f"{inside[0]}{first}, {middle}] \\cup ({middle}, {last}{inside[-1]}"
        down = f"{last} {'>=' if high_in else '>'} x {'>=' if low_in else '>'} {first}"
        return [*ways, halves, f"{first} {below} x {above} {last}", down]
    return [*ways, f"x {above} {last}" if low is None else f"{first} {below} x"]


def bounds(low: int | None, width: int | None, low_in: bool, high_in: bool) -> Bounds:
    if low is None and width is None:
        low = 0
    high = None if width is None else (low or 0) + width
    return low, low_in and low is not None, high, high_in and high is not None


PART = st.sampled_from(sorted(ELEMENTS))
WORDS = st.sampled_from(["cat", "act", "red", "ab", "ba", "7"])
LOWS, WIDTHS = st.sampled_from([None, -3, 0, 2]), st.sampled_from([None, 1, 5])
ANSWERS: dict[str, tuple[st.SearchStrategy[Any], Callable[[Any], list[str]]]] = {
    "integer": (st.integers(-13, 13) | st.integers(-(10**9), 10**9), integer_ways),
    "number": (st.integers(-30000, 30000).map(lambda n: Fraction(n, 10000)), number_ways),
    "fraction": (st.builds(Fraction, st.integers(-30, 30), st.integers(1, 12)), fraction_ways),
    "ratio": (st.sampled_from([(1, 2), (2, 1), (3, 4), (4, 3), (1, 2, 3), (3, 2, 1), (2, 3, 12)]), ratio_ways),
    "word": (st.lists(WORDS, min_size=1, max_size=2).map(tuple), word_ways),
    "choice": (st.frozensets(st.sampled_from("ABCDE"), min_size=1, max_size=3), choice_ways),
    "boolean": (st.booleans(), truth_ways),
    "list": (st.lists(PART, min_size=2, max_size=3).map(tuple), list_ways),
    "set": (st.frozensets(PART, max_size=3), set_ways),
    "interval": (st.builds(bounds, LOWS, WIDTHS, st.booleans(), st.booleans()), interval_ways),
}


def decorated(text: str) -> list[str]:
    """With decoration and announcements around it; what is in braces is no plain text."""
    return [way.format(text) for way in DECORATIONS if "{" not in text or "text" not in way]


kinds = pytest.mark.parametrize("kind", ANSWERS)


def pair(kind: str, same: bool) -> st.SearchStrategy[tuple[Hashable, str, Hashable, str]]:
    """Two values, mostly different unless they are to be the same, each with a spelling."""
    values, ways = ANSWERS[kind]
    both = values.map(lambda value: (value, value)) if same else st.tuples(values, values)

    def spelt(two: tuple[Any, Any]) -> st.SearchStrategy[tuple[Any, str, Any, str]]:
        first, second = (st.sampled_from(ways(value)) for value in two)
        return st.tuples(st.just(two[0]), first, st.just(two[1]), second)

    return both.flatmap(spelt)


@kinds
def test_a_value_is_right_in_every_spelling_whichever_spelling_is_the_gold_answer(kind: str):
    @given(pair(kind, same=True))
    @settings(max_examples=100)
    def check(two: tuple[Any, str, Any, str]):
        _, first, _, second = two
        assert grade(first, first, kind).correct
        assert grade(first, second, kind).correct
        assert grade(second, first, kind).correct
        for text in decorated(first):
            assert grade(text, second, kind).correct, text

    check()


@kinds
def test_another_value_is_wrong_in_every_spelling_whichever_is_the_gold_answer(kind: str):
    @given(pair(kind, same=False))
    @settings(max_examples=100)
    def check(two: tuple[Any, str, Any, str]):
        value, first, other, second = two
        equal = value == other
        assert grade(first, second, kind).correct == equal
        assert grade(second, first, kind).correct == equal
        for text in decorated(first):
            assert grade(text, second, kind).correct == equal, text

    check()


# Each line says the same in several ways, and no other line says it.
ALGEBRA: dict[str, list[list[str]]] = {
    "expression": [
        ["2x+2", "2(x+1)", "2*(x+1)", "$2+2x$.", "\\frac{4x+4}{2}", "f(x) = 2x + 2", "**2x+2**", "\\boxed{2(1+x)}"],
        ["2\\sqrt{2}", "sqrt(8)", "\\frac{4}{\\sqrt{2}}", "2^{3/2}", "\\( 2\\sqrt{2} \\)"],
        *(["2X+2"], ["2y+2"], ["x+2"], ["2.828427"], ["1", "\\sin^2 x+\\cos^2 x"]),
    ],
    "equation": [["y=2x+1", "2x+1=y", "y-2x-1=0", "2y=4x+2"], ["y=2x+2"], ["y=-2x-1"], ["x=2y+1"]],
    "matrix": [["[[1,x],[0,2]]", "\\begin{pmatrix}1&x+0\\\\0&4/2\\end{pmatrix}"], ["[[1,0],[x,2]]"], ["[[1,x,0,2]]"]],
    "set": [["{x, \\sqrt{2}}", "\\{\\frac{2}{\\sqrt{2}}, x, x\\}"], ["{X, \\sqrt{2}}"], ["{x}"], ["{x, 1.414}"]],
    "list": [["x, 2x", "[x; x+x]", "x and 2x"], ["2x, x"], ["x, 2X"]],
    "interval": [
        ["x > \\sqrt{2}", "(\\frac{2}{\\sqrt{2}}, \\infty)"],
        ["x \\ge \\sqrt{2}"],
        ["x > 1.414"],
        ["x < \\sqrt{2}"],
    ],
}


@pytest.mark.parametrize("kind", ALGEBRA)
def test_what_says_the_same_in_algebra_is_right_and_nothing_else_is(kind: str):
    texts = [(line, text) for line, ways in enumerate(ALGEBRA[kind]) for text in ways]
    pairs = [(first, second) for first in texts for second in texts]
    verdicts = grade_many([one for (_, one), _ in pairs], [gold for _, (_, gold) in pairs], [kind] * len(pairs))
    for ((line, one), (other, gold)), verdict in zip(pairs, verdicts, strict=True):
        assert verdict.correct == (line == other), (one, gold, verdict.reason)


# --- characters that look like others, or like nothing ---

ZERO_WIDTH = "\u200b\u200c\u200d\u200e\u200f\u2060\ufeff\u00ad\u061c\u034f\u180e\u3164\ufe0f\U000e0041"
DIRECTION = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
LOOKALIKES = str.maketrans(
    "aceopxyidnrtulsfABCEHKMOTX",
    "\u0430\u0441\u0435\u043e\u0440\u0445\u0443\u0456\u0501\u0578\u0433\u03c4\u057d\u04cf\u017f\u017f"
    "\u0410\u0412\u0421\u0415\u041d\u212a\u041c\u041e\u0422\u0425",
)
ZEROS = "\u0660\u0966\U0001d7ce\u2080"
OTHER_DIGITS = [{48 + digit: chr(ord(zero) + digit) for digit in range(10)} for zero in ZEROS]
SUPERSCRIPTS = str.maketrans(string.digits, "\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079")
EXPLAINED = ("choice", "boolean")
"""Kinds where anything may follow a label or a yes."""
PLAIN = [kind for kind in ANSWERS if kind not in ("list", "set", "interval")]
"""Kinds that are no mathematics, in which a superscript is a power."""


def inserted(text: str, character: str, place: int) -> str:
    return text[:place] + character + text[place:]


def tricks(text: str) -> list[str]:
    """Other texts that look like this one, or nearly."""
    added = ZERO_WIDTH + DIRECTION + "\u0301\u0338\u20e3"
    places = sorted({0, 1, len(text) // 2, len(text)})
    found = [inserted(text, character, place) for character in added for place in places]
    found += [text.translate(table) for table in (LOOKALIKES, SUPERSCRIPTS, *OTHER_DIGITS)]
    found += [full_width(text), text.swapcase(), f"\u202e{text[::-1]}\u202c"]
    return [*found, f"\\text{{}}{text}", f"{text}\\boxed{{}}"]


@pytest.mark.parametrize("kind", PLAIN)
def test_no_trick_with_characters_makes_a_wrong_answer_right(kind: str):
    @given(pair(kind, same=False).filter(lambda two: two[0] != two[2]))
    @settings(max_examples=60)
    def check(two: tuple[Any, str, Any, str]):
        _, first, _, second = two
        for text in tricks(first):
            assert not grade(text, second, kind).correct, text

    check()


@kinds
def test_a_right_answer_that_hides_a_character_is_wrong(kind: str):
    @given(pair(kind, same=True), st.sampled_from(ZERO_WIDTH + DIRECTION), st.integers(0, 40))
    def check(two: tuple[Any, str, Any, str], character: str, place: int):
        _, first, _, second = two
        inside = 1 + place % (len(first) - 1) if len(first) > 1 else 0
        if inside or character in DIRECTION:
            assert not grade(inserted(first, character, inside), second, kind).correct
        if character in DIRECTION:
            assert not grade(first + character, second, kind).correct
            assert not grade(character + first, second, kind).correct

    check()


@pytest.mark.parametrize("kind", PLAIN)
def test_a_right_answer_in_other_letters_or_digits_is_wrong(kind: str):
    @given(pair(kind, same=True), st.sampled_from([LOOKALIKES, SUPERSCRIPTS, *OTHER_DIGITS]), st.integers(0, 40))
    @settings(max_examples=150)
    def check(two: tuple[Any, str, Any, str], table: dict[int, str], place: int):
        _, first, _, second = two
        if kind in EXPLAINED and set(first) & set(",.:!"):
            first = first[:1]
        places = [index for index, letter in enumerate(first) if ord(letter) in table]
        if places:
            index = places[place % len(places)]
            other = first[:index] + first[index].translate(table) + first[index + 1 :]
            assert not grade(other, second, kind).correct

    check()


# --- responses and batches ---

PIECES = [
    *("<think>", "</think>", "<answer>", "</answer>", "<final>", "</final>", "</thinking>", "</steps>", "\\boxed{"),
    *("#### ", "The answer is ", "Answer: ", "answer", "7", "8", "B", "yes", "so", "<b>", "\u200b", "\\"),
    *"{} \n.",
]
RESPONSES = st.lists(st.sampled_from(PIECES), max_size=14).map("".join)


@given(RESPONSES)
@settings(max_examples=500)
def test_what_is_extracted_states_no_other_answer(response: str):
    stated = extract(response)
    assert stated is None or (extract(stated) is None and stated in response)
    answer = answer_in(response)
    if answer is not None:
        assert answer_in(answer) == answer or "\n" in answer or "<" in answer
        assert grade(response, "7", "integer").correct == grade(answer, "7", "integer").correct or "\n" in answer


ASKED: list[tuple[str | None, str, str | None, dict[str, Any]]] = [
    *((text, "7", "integer", {}) for text in ("7", "8", "<answer>7</answer>", "", "7 or 8")),
    *((text, "7", "integer", {"unit": "cm"}) for text in ("7", "70 mm", "7 kg", "7%")),
    *((text, "B", "choice", {"choices": ("3", "5")}) for text in ("B", "5", "B. 3", "A")),
    *((text, "3.14", "number", {"precision": 1}) for text in ("3.1", "3.2", "3.14")),
    *((text, "2x+2", None, {}) for text in ("2(x+1)", "x+2", "2x+2", "9^{9^{9}}")),
    *((text, "{1, \\sqrt{2}}", "set", {}) for text in ("\\sqrt{2}, 1", "{\\frac{2}{\\sqrt{2}}, 1}", "{1}")),
    *((text, "[10, 10, 50, 50]", "box", {"precision": 0.3}) for text in ("[10, 10, 50, 30]", "[10, 10, 20, 20]")),
    *((text, "7", None, {"strict": "think_answer"}) for text in ("7", "<think> a </think> <answer> 7 </answer>")),
    (None, "cat", None, {}),
    ("The cat.", "cat", None, {}),
]


@given(st.lists(st.sampled_from(range(len(ASKED))), max_size=25))
@settings(max_examples=40)
def test_a_batch_is_graded_like_its_items_in_any_order_and_number(order: Sequence[int]):
    asked = [ASKED[index] for index in order]
    one_by_one = [grade(text, gold, kind, **options) for text, gold, kind, options in asked]
    columns = {
        plural: [options.get(name) for *_, options in asked]
        for plural, name in (("choices",) * 2, ("precisions", "precision"), ("units", "unit"), ("strict",) * 2)
    }
    texts, golds, kinds = ([one[column] for one in asked] for column in range(3))
    assert grade_many(texts, golds, kinds, **columns) == one_by_one


GOLDS = {
    **{"integer": "7", "number": "0.5", "fraction": "3/4", "ratio": "3:4", "word": "cat", "choice": "B"},
    **{"boolean": "yes", "list": "1, red", "set": "{1, 2}", "interval": "[0, 2)", "expression": "x"},
    **{"equation": "y=x", "matrix": "[[1]]", "box": "[0, 0, 1, 1]", "point": "(1, 1)"},
}
ANY_CHARACTERS = st.text(st.characters(exclude_categories=()), max_size=30)
LIKELY_CHARACTERS = st.text("0123456789.,/:-()[]{}\\ xeyn", max_size=12)


@pytest.mark.parametrize("kind", sorted(set(KINDS) - {"open"}))
def test_no_text_raises(kind: str):
    @given(ANY_CHARACTERS | LIKELY_CHARACTERS)
    def check(text: str):
        verdict = grade(text, GOLDS[kind], kind)
        assert verdict.kind == kind
        assert verdict.reason

    check()


# --- units, precision, per cent ---

SCALES = {
    "length": {"mm": "1/1000", "cm": "1/100", "m": "1", "kilometres": "1000", "inches": "254/10000"},
    "mass": {"g": "1/1000", "kg": "1", "tonnes": "1000"},
    "time": {"ms": "1/1000", "seconds": "1", "min": "60", "hours": "3600", "days": "86400"},
    "area": {"cm^2": "1/10000", "square metres": "1", "m\u00b2": "1", "mm2": "1/1000000"},
    "volume": {"ml": "1/1000000", "litres": "1/1000", "m^3": "1"},
    "speed": {"m/s": "1", "km/h": "10/36", "kilometers per hour": "10/36", "cm per second": "1/100"},
    "money": {"dollars": "1", "cents": "1/100"},
}
UNITS = [(what, unit, Fraction(scale)) for what, units in SCALES.items() for unit, scale in units.items()]


SIZES = st.builds(Fraction, st.integers(1, 50), st.integers(1, 4))


@given(SIZES, st.lists(st.sampled_from(UNITS), min_size=3, max_size=3))
def test_units_convert_both_ways_and_only_within_a_dimension(value: Fraction, units: list[tuple[str, str, Fraction]]):
    texts = [f"{value / scale} {unit}" for _, unit, scale in units]
    for (one_what, one, _), one_text in zip(units, texts, strict=True):
        for (other_what, _, other_scale), other_text in zip(units, texts, strict=True):
            same = one_what == other_what
            assert grade(other_text, one_text, "number").correct == same
            assert grade(other_text, one_text.removesuffix(f" {one}"), "number", unit=one).correct == same
            more = f"{(value + 1) / other_scale} {other_text.partition(' ')[2]}"
            assert not grade(more, one_text, "number").correct


DECIMALS = st.integers(-50_000, 50_000).map(lambda n: Fraction(n, 1000))


@given(DECIMALS, st.integers(-200, 200), st.integers(0, 4))
@settings(max_examples=200)
def test_precision_is_half_of_the_last_decimal_and_more_never_accepts_more(gold: Fraction, off: int, decimals: int):
    near, exact = f"{float(gold + Fraction(off, 1000)):.3f}", f"{float(gold):.3f}"
    right = [grade(near, exact, "number", precision=more).correct for more in range(decimals, 7)]
    assert right == sorted(right, reverse=True)
    assert right[0] == (abs(Fraction(off, 1000)) <= Fraction(1, 2 * 10**decimals))
    assert grade(exact, near, "number", precision=decimals).correct == right[0]


@given(DECIMALS.filter(bool))
def test_per_cent_is_what_the_problem_says_it_is(share: Fraction):
    value, hundredfold = f"{float(share):.3f}", f"{float(100 * share):.1f}"
    for unit, gold, right, wrong in [
        (
            "%",
            hundredfold,
            [f"{hundredfold}%", f"{hundredfold}\\%", f"{hundredfold} percent", hundredfold],
            [value, f"{value}%"],
        ),
        ("1", value, [value, f"{hundredfold}%", f"{hundredfold} per cent"], [hundredfold, f"{value}%"]),
        (None, hundredfold, [f"{hundredfold}%", hundredfold], [value, f"{value}%"]),
        (None, f"{hundredfold}%", [f"{hundredfold}%", hundredfold], [value, f"{value}%"]),
        ("cm", value, [value, f"{value} cm"], [f"{hundredfold}%", f"{value}%"]),
        ("apples", value, [value, f"{value} apples"], [f"{hundredfold}%", f"{value}%"]),
    ]:
        for text in right:
            assert grade(text, gold, "number", unit=unit).correct, (text, gold, unit)
        for text in wrong:
            assert not grade(text, gold, "number", unit=unit).correct, (text, gold, unit)
