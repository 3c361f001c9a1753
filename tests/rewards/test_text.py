"""Characters that show nothing are told from those that do, whatever Unicode has to offer."""

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from specs_lab.rewards.text import blank, hides, strip

# Default_Ignorable_Code_Point of DerivedCoreProperties.txt, by first and last code point.
DEFAULT_IGNORABLE = [
    (0x00AD, 0x00AD), (0x034F, 0x034F), (0x061C, 0x061C), (0x115F, 0x1160), (0x17B4, 0x17B5), (0x180B, 0x180F),
    (0x200B, 0x200F), (0x202A, 0x202E), (0x2060, 0x206F), (0x3164, 0x3164), (0xFE00, 0xFE0F), (0xFEFF, 0xFEFF),
    (0xFFA0, 0xFFA0), (0xFFF0, 0xFFF8), (0x1BCA0, 0x1BCA3), (0x1D173, 0x1D17A), (0xE0000, 0xE0FFF),
]  # fmt: skip
IGNORABLE = [chr(code) for first, last in DEFAULT_IGNORABLE for code in range(first, last + 1)]
DIRECTION = [chr(code) for code in (*range(0x202A, 0x202F), *range(0x2066, 0x206A))]
CONTROLS = [chr(code) for code in (*range(9), *range(0x0E, 0x20), *range(0x7F, 0xA0)) if code != 0x85]
SPACES = [chr(code) for code in range(sys.maxunicode + 1) if chr(code).isspace() and chr(code) not in CONTROLS]
ENDS = ["\u200b", "\ufeff", "\u00ad", "\u200e", "\u200f", "\u2060", "\ufe0f"]
TEXTS = st.text(st.sampled_from(["a", "7", "\u00e9", "\u0301", " ", "\n", "\u00a0", *ENDS, *DIRECTION[:2]]), max_size=8)


def test_the_table_of_this_test_is_that_of_unicode():
    assert len(IGNORABLE) == len(set(IGNORABLE)) == 4174


def test_what_unicode_ignores_shows_nothing_and_is_hidden_in_an_answer():
    assert [f"{ord(character):X}" for character in IGNORABLE if not blank(character)] == []
    assert [f"{ord(character):X}" for character in IGNORABLE if not hides(f"4{character}2")] == []


def test_white_space_shows_nothing_and_is_not_hidden():
    assert len(SPACES) > 20
    for space in SPACES:
        assert blank(space)
        assert strip(f"{space}7{space}") == "7"
        assert not hides(f"4{space}2")


def test_control_characters_show_nothing_and_are_hidden_in_an_answer():
    assert [control for control in CONTROLS if not (blank(control) and hides(f"4{control}2"))] == []


@pytest.mark.parametrize("invisible", ENDS)
def test_characters_without_width_are_stripped_at_the_ends_only(invisible: str):
    assert strip(f"{invisible} {invisible}7 \n{invisible}") == "7"
    assert strip(f"4{invisible}2") == f"4{invisible}2"


@pytest.mark.parametrize("mark", DIRECTION)
def test_changes_of_direction_stay_where_they_are_and_are_found(mark: str):
    assert strip(f" {mark}7 ") == f"{mark}7"
    assert hides(f"{mark}7")
    assert blank(mark)


@pytest.mark.parametrize("text", ["a", ".", "\u0301", "\u00b2", "\u0416", "\u4e2d", "\U0001f642", "e\u0301", "\u0600"])
def test_what_can_be_seen_is_neither_blank_nor_hidden(text: str):
    assert not blank(text)
    assert not hides(text)
    assert strip(f"\u200b{text} ") == text


@pytest.mark.parametrize("text", ["", " ", "\n\t \r", "\u200b \ufeff", "\u3000\u00a0"])
def test_nothing_is_blank(text: str):
    assert blank(text)
    assert strip(text) == ""


@given(TEXTS)
def test_a_text_is_blank_if_each_of_its_characters_is(text: str):
    assert blank(text) == all(blank(character) for character in text)


@given(TEXTS)
def test_a_text_hides_something_if_any_of_its_characters_is_hidden(text: str):
    assert hides(text) == any(hides(character) for character in text)


@given(TEXTS)
def test_stripping_takes_only_blanks_and_leaves_no_space_at_the_ends(text: str):
    stripped = strip(text)
    start = text.index(stripped)
    assert blank(text[:start])
    assert blank(text[start + len(stripped) :])
    assert strip(stripped) == stripped
    assert not stripped or not (stripped[0] + stripped[-1]).isspace()
