"""Micro-batches hold what fits, lose nothing, and keep rows of a prompt together."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from specs_lab.models.micro_batches import micro_batches
from specs_lab.models.prompts import Prompt, Row, by_prompt, row_tokens

groups = st.lists(
    st.tuples(st.integers(1, 9), st.lists(st.integers(0, 9), min_size=1, max_size=5)), min_size=0, max_size=6
)


def _rows(shape):
    rows = []
    for length, completions in shape:
        prompt = Prompt(torch.zeros(length, dtype=torch.long), torch.zeros(1, length), {}, "")
        rows += [Row(prompt, (0,) * size) for size in completions]
    return rows


@given(groups, st.integers(1, 40))
def test_every_row_is_in_one_part_and_parts_fit(shape, limit):
    rows = _rows(shape)
    parts = micro_batches(rows, lambda row: (row,), limit)
    assert sorted(id(row) for part in parts for row in part) == sorted(map(id, rows))
    for part in parts:
        assert row_tokens(part) <= limit or len(part) == 1
    for part, following in pairwise(parts):
        assert row_tokens([*part, following[0]]) > limit  # no part could have held more


def test_rows_of_a_prompt_stay_together_whatever_their_order():
    rows = _rows([(5, [1, 2, 3]), (3, [1, 2, 3])])
    mixed = [rows[i] for i in (0, 3, 1, 4, 2, 5)]
    parts = micro_batches(mixed, lambda row: (row,), 11)
    assert [[len(row.prompt.token_ids) for row in part] for part in parts] == [[3, 3, 3], [5, 5, 5]]


def test_items_of_several_rows_are_never_cut():
    rows = _rows([(5, [4, 4]), (5, [1, 1])])
    pairs = [(rows[0], rows[1]), (rows[2], rows[3])]
    parts = micro_batches(pairs, lambda pair: pair, 8)
    assert parts == [[pairs[0]], [pairs[1]]]


@given(groups, st.integers(1, 60))
def test_without_sharing_every_row_has_a_padded_copy(shape, limit):
    rows = _rows(shape)
    parts = micro_batches(rows, lambda row: (row,), limit, shared=False)
    assert sorted(id(row) for part in parts for row in part) == sorted(map(id, rows))
    for part in parts:
        longest = max(len(row.prompt.token_ids) + len(row.completion) for row in part)
        assert len(part) * longest <= limit or len(part) == 1


@pytest.mark.parametrize(("shape", "tokens"), [([(5, [1, 2])], 8), ([(5, [1]), (5, [2])], 13), ([], 0)])
def test_a_prompt_counts_once_for_its_rows(shape, tokens):
    assert row_tokens(_rows(shape)) == tokens


def test_equal_prompts_that_are_not_the_same_are_not_shared():
    rows = _rows([(5, [1]), (5, [1])])
    assert by_prompt(rows) == [[0], [1]]
