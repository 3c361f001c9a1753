"""Pairs survive the way to disk and back, and load as any parquet data set does."""

import numpy as np
from datasets import load_dataset

from specs_lab.data.records import PairRecord, read_pairs, write_pairs


def _pairs(toy_problems):
    return [
        PairRecord(p.id, "id", p.family, p.image, p.question, "good", "bad", p.answer, "no_tags", i % 2 == 0)
        for i, p in enumerate(toy_problems)
    ]


def test_pairs_survive_the_disk(toy_problems, tmp_path):
    pairs = _pairs(toy_problems)
    write_pairs(tmp_path / "pairs.parquet", pairs)
    again = read_pairs(tmp_path / "pairs.parquet")
    assert [vars(one) | {"image": None} for one in again] == [vars(one) | {"image": None} for one in pairs]
    for one, two in zip(again, pairs, strict=True):
        np.testing.assert_array_equal(np.asarray(one.image), np.asarray(two.image))
    assert [path.name for path in tmp_path.iterdir()] == ["pairs.parquet"]


def test_the_file_is_a_data_set_with_pictures(toy_problems, tmp_path):
    write_pairs(tmp_path / "pairs.parquet", _pairs(toy_problems))
    files = str(tmp_path / "pairs.parquet")
    table = load_dataset("parquet", data_files=files, split="train", cache_dir=str(tmp_path / "cache"))
    assert table[0]["image"].size == (64, 64)
    assert {"prompt", "chosen", "rejected"} <= set(table.column_names)
