"""Buckets of difficulty: every number of tries is in one, and none in two."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from specs_lab.core.options import InvalidOption
from specs_lab.data.selections.tries import UNSOLVED, SelectOptions


def test_the_first_bucket_that_a_number_of_tries_fits_is_taken():
    options = SelectOptions(tries=8, most_tries={"easy": 1, "medium": 3, "hard": 8})
    assert [options.bucket(tries) for tries in range(1, 9)] == ["easy", "medium", "medium", *["hard"] * 5]
    assert options.buckets == ("easy", "medium", "hard", UNSOLVED)


@given(st.lists(st.integers(1, 30), min_size=1, max_size=5, unique=True).map(sorted))
def test_every_number_of_tries_has_a_bucket_and_every_bucket_a_number(limits):
    options = SelectOptions(tries=limits[-1], most_tries={f"b{most}": most for most in limits})
    found = [options.bucket(tries) for tries in range(1, limits[-1] + 1)]
    assert list(dict.fromkeys(found)) == [f"b{most}" for most in limits]
    for name, most in options.most_tries.items():
        assert max(tries for tries, bucket in enumerate(found, 1) if bucket == name) == most


@pytest.mark.parametrize(
    ("options", "where"),
    [
        ({"tasks": 0}, {"tasks"}),
        ({"tries": 0, "most_tries": {"easy": 0}}, {"tries", "most_tries"}),
        ({"temperature": 0.0}, {"temperature"}),
        ({"max_new_tokens": 0}, {"max_new_tokens"}),
        ({"mixture": []}, {"mixture"}),
        ({"most_tries": {}}, {"most_tries"}),
        ({"tries": 9}, {"most_tries"}),  # nine tries would be in no bucket
        ({"tries": 3}, {"most_tries"}),
        ({"tries": 3, "most_tries": {"b": 3, "a": 1}}, {"most_tries"}),
        ({"tries": 3, "most_tries": {"a": 3, "b": 3}}, {"most_tries"}),
        ({"tries": 3, "most_tries": {"a": 0, "b": 3}}, {"most_tries"}),  # nothing is solved by no try
        ({"tries": 3, "most_tries": {"unsolved": 1, "b": 3}}, {"most_tries"}),  # tasks nobody solved are called so
    ],
)
def test_buckets_that_leave_out_or_repeat_a_number_of_tries_are_refused(options, where):
    with pytest.raises(InvalidOption) as caught:
        SelectOptions(**options)
    assert {fault.where for fault in caught.value.faults} == where
