"""The stage `base` takes over what of a checkpoint is read, and keeps it as it is."""

import errno
import json
import os
from types import SimpleNamespace

import pytest

from specs_lab.models.setup import ModelSetup
from specs_lab.stages import base

READ = {
    "config.json": "{}",
    "chat_template.jinja": "{{ messages }}",
    "merges.txt": "a b",
    "tokenizer.json": "{}",
    "tokenizer.model": "pieces",
    "README.md": "license: mit",
}
NOT_READ = ["pytorch_model.bin", "optimizer.pt", "model.gguf", ".gitattributes", ".git/objects/ab", "onnx/config.json"]


@pytest.fixture
def checkpoint(tmp_path):
    """A folder with files by name; those that are read and others."""

    def make(**weights):
        folder = tmp_path / "checkpoint"
        for name, content in {**READ, **dict.fromkeys(NOT_READ, "other"), **weights}.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(content)
        return folder

    return make


@pytest.fixture
def take_over(tmp_path):
    def run(folder, identity):
        artifact = tmp_path / "artifact"
        artifact.mkdir()
        model = SimpleNamespace(folder=folder, identity=lambda: identity, setup=ModelSetup)
        base.run(SimpleNamespace(options={"model": model}, folder=artifact))
        return artifact

    return run


def test_only_what_is_read_is_taken_over(checkpoint, take_over):
    index = json.dumps({"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}})
    weights = {"model-1.safetensors": "1", "model-2.safetensors": "2", "model.safetensors.index.json": index}
    artifact = take_over(checkpoint(**weights, **{"consolidated.safetensors": "12"}), None)
    assert {path.name: path.read_text() for path in (artifact / "model").iterdir()} == {**READ, **weights}
    assert ModelSetup.read(artifact) == ModelSetup()


def test_of_unsharded_weights_the_one_file_is_taken_over(checkpoint, take_over):
    artifact = take_over(checkpoint(**{"model.safetensors": "1", "consolidated.safetensors": "1"}), None)
    assert [path.name for path in (artifact / "model").glob("*.safetensors")] == ["model.safetensors"]


def test_a_folder_of_one_s_own_may_change_afterwards(checkpoint, take_over):
    folder = checkpoint(**{"model.safetensors": "as it was"})
    artifact = take_over(folder, None)
    (folder / "model.safetensors").write_text("another")
    assert (artifact / "model" / "model.safetensors").read_text() == "as it was"


def test_what_a_commit_names_takes_no_room_twice(checkpoint, take_over):
    """As in the hub's cache, where the files of a commit are links to others."""
    folder = checkpoint()
    blob = folder.parent / "blob"
    blob.write_text("weights")
    (folder / "model.safetensors").symlink_to(blob)
    artifact = take_over(folder, {"commit": "0"})
    taken = artifact / "model" / "model.safetensors"
    assert not taken.is_symlink()
    assert taken.samefile(blob)
    blob.unlink()  # the cache may be emptied
    assert taken.read_text() == "weights"


def test_without_links_files_are_copied(checkpoint, take_over, monkeypatch):
    def refuse(*_):
        raise OSError(errno.EXDEV, "another disk")

    monkeypatch.setattr(os, "link", refuse)
    folder = checkpoint(**{"model.safetensors": "weights"})
    taken = take_over(folder, {"commit": "0"}) / "model" / "model.safetensors"
    assert taken.read_text() == "weights"
    assert not taken.samefile(folder / "model.safetensors")
