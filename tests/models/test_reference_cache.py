"""Cached reference log-probabilities are refused for anything but what they were made from."""

from dataclasses import replace

import pytest
import torch

from specs_lab.core.errors import UserError
from specs_lab.models.prompts import Row
from specs_lab.models.reference_cache import read_reference, reference_fingerprint, write_reference


@pytest.fixture
def saved(toy_vlm, toy_rows, tmp_path):
    path = tmp_path / "reference.safetensors"
    write_reference(path, {"chosen": torch.arange(5.0)}, reference_fingerprint(toy_vlm, toy_rows))
    return path


def test_what_was_written_is_read(saved, toy_vlm, toy_rows):
    assert read_reference(saved, reference_fingerprint(toy_vlm, toy_rows))["chosen"].tolist() == [0, 1, 2, 3, 4]


def _weights(vlm, rows):
    next(vlm.parameters()).data[0, 0] += 1e-3
    return rows


def _completion(vlm, rows):
    return [Row(rows[0].prompt, rows[0].completion[:-1]), *rows[1:]]


def _picture(vlm, rows):
    pixels = {**rows[0].prompt.vision, "pixel_values": rows[0].prompt.vision["pixel_values"] + 1e-3}
    return [Row(replace(rows[0].prompt, vision=pixels), rows[0].completion), *rows[1:]]


def _order(vlm, rows):
    return rows[::-1]


def _template(vlm, rows):
    vlm.processor.chat_template = vlm.processor.chat_template + " "
    return rows


def _budget(vlm, rows):
    vlm.processor.image_processor.size = {"shortest_edge": 1, "longest_edge": 2}
    return rows


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (_weights, "model"),
        (_completion, "data"),
        (_picture, "data"),
        (_order, "data"),
        (_template, "template"),
        (_budget, "pixels"),
    ],
)
def test_each_difference_is_refused_by_name(saved, toy_vlm, toy_rows, change, named, monkeypatch):
    processor = toy_vlm.processor
    monkeypatch.setattr(processor, "chat_template", processor.chat_template)
    monkeypatch.setattr(processor.image_processor, "size", processor.image_processor.size)
    rows = change(toy_vlm, toy_rows)
    with pytest.raises(UserError) as error:
        read_reference(saved, reference_fingerprint(toy_vlm, rows))
    assert f"of another {named}" in str(error.value)
    assert str(error.value).count("of another") == 1


def test_all_differences_are_named_together(saved, toy_vlm, toy_rows):
    rows = _weights(toy_vlm, _completion(toy_vlm, toy_rows))
    with pytest.raises(UserError) as error:
        read_reference(saved, reference_fingerprint(toy_vlm, rows))
    assert str(error.value).count("of another") == 2


def test_the_same_reference_is_the_same_file(toy_vlm, toy_rows, tmp_path):
    fingerprint = reference_fingerprint(toy_vlm, toy_rows)
    for number in range(8):
        write_reference(tmp_path / str(number), {"chosen": torch.arange(5.0)}, fingerprint)
    assert len({path.read_bytes() for path in tmp_path.iterdir()}) == 1
