import json
import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from specs_lab.models.sources.embedded import CHECKPOINTS
from specs_lab.preflight.shapes import UnknownShape, shape_of, shape_of_folder, tensors_of_config, tensors_of_files

TINY = CHECKPOINTS / "tiny-0"


def test_a_shape_is_that_of_the_model(toy_weights):
    model, _ = toy_weights
    shape = shape_of_folder(TINY)
    text, vision = model.config.text_config, model.config.vision_config
    assert shape.parameters == sum(p.numel() for p in model.parameters())
    assert shape.tower_parameters == sum(p.numel() for p in model.model.visual.parameters())
    layers = shape.text
    assert layers.parameters == sum(p.numel() for p in model.model.language_model.layers.parameters())
    assert (layers.count, layers.hidden, layers.feed_forward) == (
        text.num_hidden_layers,
        text.hidden_size,
        text.intermediate_size,
    )
    assert (layers.query, layers.key) == (96, 32)
    assert (layers.gated, shape.tied, shape.heads) == (True, True, text.num_attention_heads)
    assert shape.tower is not None
    assert (shape.tower.count, shape.tower.hidden) == (vision.depth, vision.hidden_size)
    assert (shape.patch, shape.merge, shape.positions) == (8, 2, text.max_position_embeddings)
    assert len(layers.matrices) == 7 * layers.count


def test_a_configuration_alone_is_enough(tmp_path: Path):
    (tmp_path / "config.json").write_bytes((TINY / "config.json").read_bytes())
    assert shape_of_folder(tmp_path) == shape_of_folder(TINY)
    total = sum(map(math.prod, tensors_of_config(tmp_path).values()))
    assert total == sum(map(math.prod, tensors_of_files(TINY.glob("*.safetensors")).values()))


def test_weights_of_which_a_part_is_missing_are_not_counted(tmp_path: Path):
    (tmp_path / "config.json").write_bytes((TINY / "config.json").read_bytes())
    save_file({"lm_head.weight": torch.zeros(2, 2)}, tmp_path / "one.safetensors")
    index = {"weight_map": {"lm_head.weight": "one.safetensors", "other": "two.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    assert shape_of_folder(tmp_path) == shape_of_folder(TINY)


def test_an_output_layer_of_its_own_is_counted():
    sizes = dict(tensors_of_config(TINY))
    config = json.loads((TINY / "config.json").read_text())
    tied = shape_of(config, sizes)
    sizes["lm_head.weight"] = (tied.vocabulary, tied.text.hidden)
    assert shape_of(config, sizes).parameters == tied.parameters
    config["tie_word_embeddings"] = False
    assert shape_of(config, sizes).parameters == tied.parameters + tied.vocabulary * tied.text.hidden


@pytest.mark.parametrize("weights", [b"weights", b"", b"\xff" * 64])
def test_files_that_are_no_weights_say_so(tmp_path: Path, weights: bytes):
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(weights)
    with pytest.raises(UnknownShape, match="no safetensors file"):
        shape_of_folder(tmp_path)


def test_weights_without_a_language_model_are_of_unknown_shape():
    with pytest.raises(UnknownShape, match="no embedding table"):
        shape_of({}, {"visual.blocks.0.attn.qkv.weight": (3, 1)})
