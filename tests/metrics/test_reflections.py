"""Words that turn back, counted."""

import pytest

from specs_lab.metrics.reflections import WORDS, count, has_aha


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("", 0),
        ("three and four make seven", 0),
        ("Wait, wait. Hmm!", 3),
        ("Let me double-check.", 1),  # one reflection, not one and another "check"
        ("I check it, then double-check it again", 3),
        ("Waiter! Checked.", 2),  # parts of words count, as in the papers
        ("re-evaluate, reevaluate", 1),
    ],
)
def test_reflections_by_hand(text: str, number: int) -> None:
    assert count(text) == number


def test_the_two_lists_differ_in_one_entry_each() -> None:
    one, other = set(WORDS["coldstart"]), set(WORDS["vlaa"])
    assert (one - other, other - one) == ({"re-evaluate"}, {"i should confirm"})
    assert (count("I should confirm this", "vlaa"), count("I should confirm this")) == (1, 0)
    assert (count("re-evaluate", "vlaa"), count("re-evaluate")) == (0, 1)


@pytest.mark.parametrize("which", WORDS)
def test_every_word_of_a_list_is_found_in_any_case(which: str) -> None:
    for word in WORDS[which]:
        assert has_aha(f"so {word.upper()} so", which)
        assert count(word, which) == 1


def test_a_text_without_reflection_has_none() -> None:
    assert not has_aha("two plus two is four")


def test_a_list_that_is_not_there_is_an_error() -> None:
    with pytest.raises(KeyError):
        count("wait", "other")
