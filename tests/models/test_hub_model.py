"""The option of models on the hub, against a local cache as the hub's own client writes it."""

import shutil

import pytest
import yaml
from huggingface_hub import constants
from huggingface_hub.utils import filter_repo_objects

from specs_lab.core import hub as core_hub
from specs_lab.core.errors import UserError
from specs_lab.core.options import InvalidOption
from specs_lab.models.sources import hub
from specs_lab.models.sources.embedded import CHECKPOINTS
from specs_lab.models.sources.hub import HubModel
from specs_lab.models.vlm import VLM

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def cached(tmp_path, monkeypatch):
    """A hub cache that holds the smallest shipped checkpoint as `someone/tiny`; the hub cannot be reached."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    repository = tmp_path / "models--someone--tiny"
    shutil.copytree(CHECKPOINTS / "tiny-0", repository / "snapshots" / COMMIT)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(COMMIT)
    for function in (core_hub.commit_of, hub._downloaded):
        function.cache_clear()
    yield repository / "snapshots" / COMMIT
    for function in (core_hub.commit_of, hub._downloaded):
        function.cache_clear()


def test_a_model_of_the_cache_is_used_and_named_by_its_commit(cached):
    model = HubModel(repo="someone/tiny")
    assert model.folder == cached
    assert model.identity() == {"repo": "someone/tiny", "commit": COMMIT}
    assert HubModel(repo="someone/tiny", revision=COMMIT).identity() == model.identity()
    assert VLM.load(model.folder, setup=model.setup()).shares_prompts


def test_a_local_copy_needs_no_hub(cached):
    model = HubModel(repo="someone/else", path=str(cached))
    assert model.folder == cached
    assert model.identity() is None


def test_what_is_not_there_says_what_to_do(cached):
    with pytest.raises(UserError, match="path"):
        _ = HubModel(repo="someone/else").folder


@pytest.mark.parametrize("file", ["config.json", "model.safetensors"])
def test_an_incomplete_repository_is_refused(file, cached):
    (cached / file).unlink()
    with pytest.raises(UserError, match=r"'someone/tiny' has no"):
        _ = HubModel(repo="someone/tiny").folder


@pytest.mark.parametrize(
    ("settings", "where"),
    [
        ({"repo": "tiny"}, "repo"),
        ({"repo": "a/b", "revision": ""}, "revision"),
        ({"repo": "a/b", "path": "/nowhere"}, "path"),
        ({"repo": "a/b", "dtype": "float8"}, "dtype"),
        ({"repo": "a/b", "min_pixels": 2, "max_pixels": 1}, "min_pixels"),
    ],
)
def test_wrong_settings_are_found_before_any_download(settings, where):
    with pytest.raises(InvalidOption) as caught:
        HubModel(**settings)
    assert [fault.where for fault in caught.value.faults] == [where]


def test_every_size_is_a_choice_of_its_own(pytestconfig):
    """Two names for one repository would be two studies of one model."""
    files = (pytestconfig.rootpath / "conf" / "model").glob("*.yaml")
    settings = {path.stem: yaml.safe_load(path.read_text()) for path in files}
    repos = {name: part["repo"] for name, part in settings.items() if "repo" in part}
    assert len(repos) == len(set(repos.values())) >= 20
    for name in repos:
        HubModel(**{key: value for key, value in settings[name].items() if key != "defaults"})
        assert settings[name]["dtype"] == "bfloat16"


def test_of_a_repository_what_is_read_is_fetched_and_no_more(cached, monkeypatch):
    """The card too: the licence of what is trained from the model is there."""
    wanted = ["config.json", "model-1.safetensors", "merges.txt", "tokenizer.model", "chat_template.jinja", "README.md"]
    others = ["pytorch_model.bin", "onnx/model.onnx", "modeling_custom.py", "images/shot.png"]
    fetched = []

    def snapshot(repo, commit, kind, patterns):
        fetched.extend(filter_repo_objects([*wanted, *others], allow_patterns=sorted(patterns)))
        return cached

    monkeypatch.setattr(core_hub, "snapshot", snapshot)
    assert HubModel(repo="someone/tiny").folder == cached
    assert fetched == wanted
