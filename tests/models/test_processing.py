"""Processors of checkpoint folders: what is read, what is refused, pixel budgets, and the names that are written."""

import importlib.util
import json
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoProcessor

from specs_lab.core.errors import UserError
from specs_lab.models.processing import load_processor, save_processor
from specs_lab.models.setup import ModelSetup
from specs_lab.models.sources.embedded import CHECKPOINTS
from specs_lab.models.vlm import VLM

_SPEC = importlib.util.spec_from_file_location("tiny_checkpoints", Path(__file__).with_name("tiny_checkpoints.py"))
tiny_checkpoints = sys.modules[_SPEC.name] = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(tiny_checkpoints)

QWEN = ("qwen2_vl", "qwen2_5_vl", "qwen3_vl")
with_videos = pytest.mark.parametrize("name", [k for k, v in tiny_checkpoints.RECIPES.items() if v.video])


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """Folders by family, each written once."""
    made = {}

    def of(name):
        if name not in made:
            made[name] = tiny_checkpoints.tiny_checkpoint(name, tmp_path_factory.mktemp(name))
        return made[name]

    return of


@pytest.fixture
def changed(tmp_path):
    """A folder with one of its files changed (by a function of its content) or, with None, taken away."""

    def of(folder, file, change):
        for path in folder.iterdir():
            (tmp_path / path.name).symlink_to(path)
        (tmp_path / file).unlink()
        if change is not None:
            (tmp_path / file).write_text(json.dumps(change(json.loads((folder / file).read_text()))))
        return tmp_path

    return of


def _picture(width, height):
    return Image.fromarray(np.random.default_rng(0).integers(0, 255, (height, width, 3), dtype=np.uint8))


def _prompt(folder, size, **setup):
    vlm = VLM.load(folder, setup=ModelSetup(**setup))
    (prompt,) = vlm.encode_prompts(["What?"], [[_picture(*size)]], ["key"])
    return prompt, int((prompt.token_ids == vlm.image_id).sum()), vlm


def _faults(folder, **setup):
    with pytest.raises(UserError) as caught:
        load_processor(folder, ModelSetup(**setup))
    return caught.value.faults


# -- reading -----------------------------------------------------------------------------------------------------------


def test_the_shipped_checkpoints_are_read():
    for folder in CHECKPOINTS.iterdir():
        processor = load_processor(folder)
        assert processor.image_processor.patch_size == 8
        assert processor.chat_template == (folder / "chat_template.jinja").read_text()


def test_another_class_s_name_in_the_files_changes_nothing(checkpoint, changed):
    folder = checkpoint("qwen2_5_vl")
    odd = {"processor_class": "SomeoneElsesProcessor", "image_processor_type": "SomeoneElsesImageProcessor"}
    one, other = load_processor(folder), load_processor(changed(folder, "preprocessor_config.json", lambda c: c | odd))
    assert type(one) is type(other)
    assert one.image_processor.to_dict() == other.image_processor.to_dict()


def test_the_older_form_of_qwen_s_pixel_bounds_is_read(checkpoint, changed):
    def older(config):
        size = config.pop("size")
        return config | {"min_pixels": size["shortest_edge"], "max_pixels": size["longest_edge"]}

    folder = checkpoint("qwen2_vl")
    one, other = load_processor(folder), load_processor(changed(folder, "preprocessor_config.json", older))
    assert one.image_processor.size == other.image_processor.size


def test_a_chat_template_among_the_tokenizer_s_settings_is_found(checkpoint, changed):
    folder = checkpoint("qwen2_vl")
    template = (folder / "chat_template.jinja").read_text()
    older = changed(folder, "tokenizer_config.json", lambda c: c | {"chat_template": template})
    (older / "chat_template.jinja").unlink()
    assert load_processor(older).chat_template == template


@with_videos
def test_one_file_for_everything_is_read(name, checkpoint, tmp_path):
    """As transformers writes it since version 5."""
    folder = checkpoint(name)
    for path in folder.iterdir():
        if "processor" not in path.name:
            (tmp_path / path.name).symlink_to(path)
    pictures, video = (json.loads((folder / f"{kind}preprocessor_config.json").read_text()) for kind in ("", "video_"))
    settings = tiny_checkpoints.RECIPES[name].settings
    whole = {**settings, "image_processor": pictures, "video_processor": {**video, "max_frames": 5}}
    (tmp_path / "processor_config.json").write_text(json.dumps(whole))
    one, other = load_processor(folder), load_processor(tmp_path)
    assert one.to_dict() == other.to_dict()
    assert other.specs_lab_video["max_frames"] == 5


@pytest.mark.parametrize("name", ["internvl", "gemma3"])
def test_named_tokens_in_the_hub_s_older_form_are_read(name, checkpoint, changed):
    named = tiny_checkpoints.RECIPES[name].attributes

    def older(config):
        kept = {key: value for key, value in config.items() if key not in (*named, "model_specific_special_tokens")}
        return kept | {"extra_special_tokens": named}

    folder = checkpoint(name)
    one, other = load_processor(folder), load_processor(changed(folder, "tokenizer_config.json", older))
    assert one.to_dict() == other.to_dict()
    assert one.image_token_id == other.image_token_id
    assert one.tokenizer.get_vocab() == other.tokenizer.get_vocab()


def test_the_older_file_of_a_chat_template_is_found(checkpoint, changed):
    template = (checkpoint("qwen2_vl") / "chat_template.jinja").read_text()
    older = changed(checkpoint("qwen2_vl"), "chat_template.jinja", None)
    (older / "chat_template.json").write_text(json.dumps({"chat_template": template}))
    assert load_processor(older).chat_template == template


@pytest.mark.parametrize(
    ("file", "what"),
    [
        ("chat_template.jinja", "no chat template"),
        ("preprocessor_config.json", "no picture processor"),
        ("tokenizer.json", "no tokenizer"),
        ("config.json", "no config.json"),
    ],
)
def test_what_is_missing_is_named(file, what, checkpoint, changed):
    (fault,) = _faults(changed(checkpoint("qwen2_5_vl"), file, None))
    assert what in fault.what


def test_a_bare_tokenizer_is_not_taken_for_a_processor(checkpoint, changed):
    """What `AutoProcessor` gives, without a word, for a class and a type of model that it does not know."""
    folder = changed(checkpoint("qwen2_5_vl"), "config.json", lambda c: c | {"model_type": "qwen2"})
    for file in ("tokenizer_config.json", "preprocessor_config.json"):
        text = (folder / file).read_text()
        (folder / file).unlink()
        (folder / file).write_text(text.replace("Qwen2_5_VLProcessor", "NobodysProcessor"))
    (fault,) = _faults(folder)
    assert "only a Qwen2Tokenizer" in fault.what
    assert "internvl" in fault.fix


def test_torchvision_that_is_not_there_is_a_fault(checkpoint, monkeypatch):
    monkeypatch.setitem(sys.modules, "torchvision", None)
    (fault,) = _faults(checkpoint("qwen2_5_vl"), image_backend="torchvision")
    assert fault.where == "model.image_backend"
    assert "torchvision" in fault.what


# -- writing -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", tiny_checkpoints.RECIPES)
def test_stock_names_are_written(name, checkpoint, tmp_path):
    recipe = tiny_checkpoints.RECIPES[name]
    save_processor(load_processor(checkpoint(name)), tmp_path)
    written = {path.name: json.loads(path.read_text()) for path in tmp_path.glob("*.json")}
    assert written["processor_config.json"]["processor_class"] == recipe.processor
    assert written["tokenizer_config.json"]["processor_class"] == recipe.processor
    pictures = recipe.pictures[0].removesuffix("Pil")
    assert written["preprocessor_config.json"]["image_processor_type"] == pictures
    assert written["processor_config.json"]["image_processor"]["image_processor_type"] == pictures
    assert (tmp_path / "chat_template.jinja").read_text() == recipe.template
    assert ("video_preprocessor_config.json" in written) is (recipe.video is not None)


@with_videos
def test_what_a_checkpoint_says_of_videos_is_handed_on(name, checkpoint, changed, tmp_path_factory):
    folder = changed(checkpoint(name), "video_preprocessor_config.json", lambda config: config | {"max_frames": 7})
    out = tmp_path_factory.mktemp("out")
    shutil.copy(folder / "config.json", out)
    save_processor(load_processor(folder), out)
    again = load_processor(out)
    save_processor(again, out)
    video = json.loads((out / "video_preprocessor_config.json").read_text())
    assert video["max_frames"] == 7
    assert video["video_processor_type"] == tiny_checkpoints.RECIPES[name].video


def test_videos_among_the_settings_of_pictures_are_handed_on(checkpoint, changed, tmp_path_factory):
    sampling = {"video_sampling": {"fps": 1, "max_frames": 64, "video_size": {"longest_edge": 16}}}
    folder = changed(checkpoint("smolvlm"), "preprocessor_config.json", lambda config: config | sampling)
    (folder / "video_preprocessor_config.json").unlink()
    out = tmp_path_factory.mktemp("out")
    save_processor(load_processor(folder), out)
    video = json.loads((out / "video_preprocessor_config.json").read_text())
    assert video["video_sampling"] == sampling["video_sampling"]
    assert video["video_processor_type"] == "SmolVLMVideoProcessor"
    assert "image_processor_type" not in video


def test_a_checkpoint_that_says_nothing_of_videos_is_given_a_configuration(tmp_path):
    save_processor(load_processor(CHECKPOINTS / "tiny-0"), tmp_path)
    video = json.loads((tmp_path / "video_preprocessor_config.json").read_text())
    assert video["video_processor_type"] == "Qwen2VLVideoProcessor"
    assert (video["patch_size"], video["merge_size"], video["temporal_patch_size"]) == (8, 2, 2)


def test_a_changed_budget_is_written(checkpoint, tmp_path):
    shutil.copy(checkpoint("qwen2_5_vl") / "config.json", tmp_path)
    save_processor(load_processor(checkpoint("qwen2_5_vl"), ModelSetup(max_pixels=1024)), tmp_path)
    assert load_processor(tmp_path).image_processor.size["longest_edge"] == 1024


@pytest.mark.skipif(find_spec("torchvision") is None, reason="the stock processors need torchvision")
@pytest.mark.parametrize("name", tiny_checkpoints.RECIPES)
def test_with_torchvision_the_stock_classes_read_what_is_written(name, checkpoint, tmp_path):
    if name == "smolvlm":
        pytest.importorskip("num2words")
    ours = load_processor(checkpoint(name), ModelSetup(image_backend="torchvision"))
    save_processor(ours, tmp_path)
    shutil.copy(checkpoint(name) / "config.json", tmp_path)
    stock = AutoProcessor.from_pretrained(tmp_path)
    assert type(stock).__name__ == tiny_checkpoints.RECIPES[name].processor
    content = [{"type": "image", "image": _picture(33, 17)}, {"type": "text", "text": "What?"}]
    turn = [{"role": "user", "content": [*content, {"type": "image", "image": _picture(20, 40)}]}]
    how = {"tokenize": True, "return_dict": True, "processor_kwargs": {"return_tensors": "pt"}}
    found, expected = (processor.apply_chat_template(turn, **how) for processor in (ours, stock))
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[field], expected[field]) for field in found)


# -- pixel budgets -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", QWEN)
def test_qwen_keeps_to_any_budget(name, checkpoint):
    assert _prompt(checkpoint(name), (64, 64))[1] == 64
    assert _prompt(checkpoint(name), (64, 64), max_pixels=1024)[1] == 16  # of 8 x 8 pixels each
    assert _prompt(checkpoint(name), (16, 16))[1] == 4
    assert _prompt(checkpoint(name), (16, 16), min_pixels=1024)[1] == 16


@pytest.mark.parametrize("name", ["idefics3", "smolvlm"])
def test_idefics_keeps_to_whole_tiles(name, checkpoint):
    assert _prompt(checkpoint(name), (64, 64))[1] == 4 * (4 + 1)
    assert _prompt(checkpoint(name), (64, 64), max_pixels=48 * 48)[1] == 4 * (9 + 1)
    assert _prompt(checkpoint(name), (64, 64), max_pixels=1023)[1] == 4
    assert [f.where for f in _faults(checkpoint(name), max_pixels=255)] == ["model.max_pixels"]
    assert [f.where for f in _faults(checkpoint(name), min_pixels=300)] == ["model.min_pixels"]


def test_internvl_keeps_to_a_number_of_tiles(checkpoint):
    folder = checkpoint("internvl")
    assert _prompt(folder, (64, 64))[1] == 4 * (4 + 1)
    assert _prompt(folder, (64, 64), max_pixels=3 * 256)[1] == 4
    assert _prompt(folder, (16, 16))[1] == 4
    assert _prompt(folder, (16, 16), min_pixels=257)[1] >= 4 * 3
    assert [f.where for f in _faults(folder, max_pixels=255)] == ["model.max_pixels"]
    assert [f.where for f in _faults(folder, min_pixels=5 * 256)] == ["model.min_pixels"]


def test_llava_onevision_keeps_to_its_grids_and_so_does_the_model(checkpoint, tmp_path):
    folder = checkpoint("llava_onevision")
    assert _prompt(folder, (32, 32))[1] == 16 + 8 * (8 + 1)
    prompt, tokens, vlm = _prompt(folder, (32, 32), max_pixels=2 * 256)
    assert tokens < 16 + 8 * (8 + 1)
    assert vlm.core.config.image_grid_pinpoints == [[16, 16], [16, 32], [32, 16]]
    assert sum(part.shape[0] for (part,) in vlm.image_features([prompt])) == tokens
    vlm.save(tmp_path)
    assert VLM.load(tmp_path).core.config.image_grid_pinpoints == [[16, 16], [16, 32], [32, 16]]
    assert [f.where for f in _faults(folder, max_pixels=255)] == ["model.max_pixels"]
    assert [f.where for f in _faults(folder, min_pixels=1025)] == ["model.min_pixels"]
    assert [f.where for f in _faults(folder, min_pixels=600, max_pixels=700)] == ["model.min_pixels"]


def test_gemma_has_one_size(checkpoint):
    faults = _faults(checkpoint("gemma3"), min_pixels=100, max_pixels=1000)
    assert [fault.where for fault in faults] == ["model.min_pixels", "model.max_pixels"]
    assert "one size" in faults[0].what


@pytest.mark.parametrize("name", QWEN)
def test_budgets_that_cannot_be_are_refused(name, checkpoint):
    assert [f.where for f in _faults(checkpoint(name), max_pixels=63)] == ["model.max_pixels"]
    assert [f.where for f in _faults(checkpoint(name), min_pixels=5000)] == ["model.min_pixels"]


def test_the_fast_path_gives_what_the_processor_gives(checkpoint):
    vlm = VLM.load(checkpoint("qwen2_5_vl"))
    pictures = [[_picture(32, 16), _picture(32, 16).rotate(180)], [], [_picture(32, 16)]]
    texts = ["One <image> and <image>.", "None.", "This?"]
    together = vlm.encode_prompts(texts, pictures, ["a", "b", "c"])
    mixed = vlm.encode_prompts([*texts, "!"], [*pictures, [_picture(40, 24)]], ["a", "b", "c", "d"])
    for fast, slow in zip(together, mixed[:3], strict=True):
        assert torch.equal(fast.token_ids, slow.token_ids)
        assert fast.vision.keys() == slow.vision.keys()
        for field, value in fast.vision.items():
            assert value.dtype == slow.vision[field].dtype
            assert (value - slow.vision[field]).abs().max() < 1e-6
