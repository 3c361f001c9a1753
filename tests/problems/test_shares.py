"""No picture is in two splits, however rows share pictures and tables serve splits."""

from collections import Counter, defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from specs_lab.problems.shares import shared_out, tables_of


def test_splits_that_are_not_named_share_the_training_table():
    assert tables_of({"train": "train"}) == {"train": ("train", "id", "ood")}
    assert tables_of({"train": "a", "id": "b", "ood": "b"}) == {"a": ("train",), "b": ("id", "ood")}
    assert tables_of({"train": "a", "id": "b"}) == {"a": ("train", "ood"), "b": ("id",)}


def test_a_table_is_shared_8_to_1_to_1():
    keys = [[f"picture {i}"] for i in range(5000)]
    found = Counter(shared_out(keys, ["train"] * 5000, {"train": ("train", "id", "ood")}))
    assert found["train"] == pytest.approx(4000, abs=120)
    assert found["id"] == pytest.approx(500, abs=90)
    halves = Counter(shared_out(keys, ["test"] * 5000, {"test": ("id", "ood")}))
    assert halves["id"] == pytest.approx(2500, abs=150)


rows = st.lists(
    st.tuples(st.sets(st.sampled_from("abcdefghijkl"), min_size=1, max_size=3), st.sampled_from(["train", "test"])),
    min_size=1,
    max_size=30,
)


@given(rows)
def test_no_key_is_in_two_splits(made: list[tuple[set[str], str]]):
    serves = {"train": ("train", "ood"), "test": ("id",)}
    splits = shared_out([keys for keys, _ in made], [table for _, table in made], serves)
    seen: dict[str, set[str]] = defaultdict(set)
    for (keys, table), split in zip(made, splits, strict=True):
        assert split is None or split in serves[table]
        for key in keys if split else ():
            seen[key].add(split)
    assert all(len(found) == 1 for found in seen.values())


@given(rows, st.randoms())
def test_the_order_of_rows_does_not_matter(made: list[tuple[set[str], str]], random):
    serves = {"train": ("train", "id", "ood"), "test": ("id", "ood")}

    def assigned(some):
        return Counter(
            (tuple(sorted(keys)), table, split)
            for (keys, table), split in zip(
                some, shared_out([k for k, _ in some], [t for _, t in some], serves), strict=True
            )
        )

    shuffled = random.sample(made, len(made))
    assert assigned(made) == assigned(shuffled)


def test_rows_that_are_linked_by_a_third_go_together():
    keys = [["a"], ["a", "b"], ["b", "c"], ["c"]]
    for salt in range(20):
        named = [[f"{key}{salt}" for key in row] for row in keys]
        assert len(set(shared_out(named, ["train"] * 4, {"train": ("train", "id", "ood")}))) == 1


def test_the_training_table_keeps_what_another_repeats():
    serves = {"train": ("train",), "test": ("id", "ood")}
    assert shared_out([["a"], ["a"], ["b"]], ["test", "train", "test"], serves)[:2] == [None, "train"]
