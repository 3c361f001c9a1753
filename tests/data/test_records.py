"""Pairs survive the way to disk and back, and are a data set that TRL's trainers take."""

import json
from dataclasses import replace

import numpy as np
import pytest
from datasets import load_dataset
from PIL import Image
from pyarrow import parquet

from specs_lab.data.records import PairRecord, read_pairs, write_pairs


@pytest.fixture
def pairs(toy_problems):
    return [
        PairRecord(
            id=p.id,
            cell="id",
            family=p.family,
            images=p.images,
            prompt=p.question,
            chosen=f"<think> it's \N{GREEK SMALL LETTER PI} </think>\n<answer> {p.answer} </answer>",
            rejected=None if i == 0 else " bad ",
            answer=p.answer,
            source="self",
            pollution="no_tags",
            supplemented=i % 2 == 0,
            chosen_correct=i % 2 == 1,
            rejected_format=None if i == 0 else i % 2 == 0,
            rejected_correct=None if i == 0 else True,
        )
        for i, p in enumerate(toy_problems)
    ]


def _same(one, two):
    assert replace(one, images=()) == replace(two, images=())
    assert len(one.images) == len(two.images)
    for left, right in zip(one.images, two.images, strict=True):
        np.testing.assert_array_equal(np.asarray(left), np.asarray(right))


def _load(path, tmp_path):
    return load_dataset("parquet", data_files=str(path), split="train", cache_dir=str(tmp_path / "cache"))


def test_pairs_survive_the_disk(pairs, tmp_path):
    pairs = [*pairs, PairRecord(id="bare", prompt="no picture", chosen="good", chosen_correct=None)]
    write_pairs(tmp_path / "pairs.parquet", pairs)
    for one, two in zip(read_pairs(tmp_path / "pairs.parquet"), pairs, strict=True):
        _same(one, two)
    assert [path.name for path in tmp_path.iterdir()] == ["pairs.parquet"]


@pytest.mark.parametrize("pick", ["none", "no_rejected", "no_images"])
def test_a_column_may_be_empty_throughout(pairs, tmp_path, pick):
    pairs = {
        "none": [],
        "no_rejected": [replace(p, rejected=None) for p in pairs],
        "no_images": [replace(p, images=()) for p in pairs],
    }[pick]
    write_pairs(tmp_path / "pairs.parquet", pairs)
    for one, two in zip(read_pairs(tmp_path / "pairs.parquet"), pairs, strict=True):
        _same(one, two)


def test_a_picture_that_came_from_a_lossy_file_loses_nothing_more(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "picture.jpg", quality=60)
    with Image.open(tmp_path / "picture.jpg") as image:
        write_pairs(tmp_path / "pairs.parquet", [PairRecord(id="a", prompt="p", chosen="c", images=(image,))])
        expected = np.asarray(image.convert("RGB"))
    (pair,) = read_pairs(tmp_path / "pairs.parquet")
    np.testing.assert_array_equal(np.asarray(pair.images[0]), expected)


def test_pictures_keep_their_places_in_the_text(pairs, tmp_path):
    one, two, three = (
        replace(pairs[0], images=(*pairs[0].images, *pairs[1].images), prompt=text)
        for text in ("from <image> to <image>", "<image>both<image>", "before <image>")
    )
    front = replace(one, prompt="<image><image> in front")
    write_pairs(tmp_path / "pairs.parquet", [one, two, three, front, replace(pairs[1], images=())])
    again = read_pairs(tmp_path / "pairs.parquet")
    for found, written in zip(again[:3], (one, two, three), strict=True):
        _same(found, written)
    _same(again[3], replace(front, prompt=" in front"))  # the same tokens: the pictures stand there anyway
    parts = _load(tmp_path / "pairs.parquet", tmp_path)[0]["prompt"][0]["content"]
    assert [part["type"] for part in parts] == ["text", "image", "text", "image"]


def test_a_file_of_an_earlier_version_is_read(pairs, tmp_path):
    write_pairs(tmp_path / "pairs.parquet", pairs)
    table = parquet.read_table(tmp_path / "pairs.parquet").drop_columns(["completion"])
    parquet.write_table(table.replace_schema_metadata(_earlier(table.schema.metadata)), tmp_path / "old.parquet")
    for one, two in zip(read_pairs(tmp_path / "old.parquet"), pairs, strict=True):
        _same(one, two)


def _earlier(metadata):
    """What `datasets` notes about a file's columns, without the one that is new."""
    noted = json.loads(metadata[b"huggingface"])
    del noted["info"]["features"]["completion"]
    return {b"huggingface": json.dumps(noted)}


def test_the_completion_is_the_chosen_side(pairs, tmp_path):
    write_pairs(tmp_path / "pairs.parquet", pairs)
    table = _load(tmp_path / "pairs.parquet", tmp_path)
    assert table["completion"][:] == table["chosen"][:]
    assert "completion" in table.column_names


def test_the_file_is_a_data_set_with_pictures(pairs, tmp_path):
    write_pairs(tmp_path / "pairs.parquet", pairs)
    table = _load(tmp_path / "pairs.parquet", tmp_path)
    assert table[0]["images"][0].size == (64, 64)
    assert table[0]["rejected"] is None
    assert table[1]["rejected"] == [{"role": "assistant", "content": " bad "}]
    assert table[1]["prompt"] == [{"role": "user", "content": pairs[1].prompt}]


def test_a_row_is_what_trl_calls_a_conversational_preference_with_a_picture(pairs, tmp_path):
    from trl.data_utils import is_conversational, prepare_multimodal_messages

    write_pairs(tmp_path / "pairs.parquet", pairs)
    row = _load(tmp_path / "pairs.parquet", tmp_path)[1]
    sides = {name: row[name] for name in ("prompt", "chosen", "rejected")}
    assert all(is_conversational({name: side}) for name, side in sides.items())
    (message,) = prepare_multimodal_messages(row["prompt"], images=row["images"])
    picture, text = message["content"]
    np.testing.assert_array_equal(np.asarray(picture["image"]), np.asarray(pairs[1].images[0]))
    assert text == {"type": "text", "text": pairs[1].prompt}
    for side, expected in (("chosen", pairs[1].chosen), ("rejected", pairs[1].rejected)):
        assert prepare_multimodal_messages(row[side]) == [
            {"role": "assistant", "content": [{"type": "text", "text": expected}]}
        ]


def test_trls_collator_takes_rows_and_finds_both_sides_in_them(pairs, toy_vlm, tmp_path):
    from trl.trainer.dpo_trainer import DataCollatorForVisionPreference

    pairs = [replace(pair, chosen=f"<think> {pair.answer} </think>", rejected=pair.answer) for pair in pairs[1:3]]
    write_pairs(tmp_path / "pairs.parquet", pairs)
    table = _load(tmp_path / "pairs.parquet", tmp_path)
    rows = list(table.select_columns(["images", "prompt", "chosen", "rejected"]))  # as the trainer does
    batch = DataCollatorForVisionPreference(toy_vlm.processor)(rows)
    learned = [
        toy_vlm.processor.tokenizer.decode(ids[mask == 1], skip_special_tokens=True)
        for ids, mask in zip(batch["input_ids"], batch["completion_mask"], strict=True)
    ]
    expected = [*(pair.chosen for pair in pairs), *(pair.rejected for pair in pairs)]
    assert [text.strip() for text in learned] == expected
    assert len(batch["image_grid_thw"]) == len(expected)
