"""The real names: every YAML of a dataset finds its data in the hub's local cache, laid out as the owner has them."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from specs_lab.cli.composition import Composer, composer
from specs_lab.cli.values import study_of
from specs_lab.problems.sources.dataset import DatasetProblems

COMMIT = "0123456789abcdef0123456789abcdef01234567"
NAMES = {
    "geometry3k": ["data/train", "data/validation", "data/test"],
    "virl39k": ["39Krelease"],
    "orsta47k": ["train/train_math_mm_math_4", "test/test_math_other_4"],
    "mmk12": ["data/train", "data/test"],
    "vlaa_thinking": [],
    "multimodal_cold_start": ["data/train"],
    "multimodal_rl_data": ["data/train"],
    "multimodal_open_r1": ["data/train"],
}
"""The tables in the repositories, but for the parts' numbers."""


@pytest.fixture(scope="module")
def known():
    with composer() as made:
        yield made


def problems_of(known: Composer, name: str, *changes: str) -> DatasetProblems:
    problems = study_of(known.compose([f"problems={name}", *changes])).problems
    assert isinstance(problems, DatasetProblems)
    return problems


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Makes the folder of a repository's commit in the hub's local cache."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))

    def made(repo: str) -> Path:
        folder = tmp_path / "hub" / f"datasets--{repo.replace('/', '--')}"
        (folder / "refs").mkdir(parents=True)
        (folder / "refs/main").write_text(COMMIT)
        return folder / "snapshots" / COMMIT

    return made


@pytest.mark.parametrize("name", NAMES)
def test_a_dataset_is_read_by_its_name(name: str, known: Composer, hub, write_dataset):
    problems = problems_of(known, name)
    written = write_dataset(problems.reader)
    folder = hub(problems.repo)
    shutil.copytree(written.folder, folder)
    table = folder / written.sample.file
    for place in NAMES[name]:
        file = folder / (f"{place}-00000-of-00001.parquet" if place.startswith("data/") else f"{place}.parquet")
        file.parent.mkdir(parents=True, exist_ok=True)
        if not file.exists():
            shutil.copy(table, file)
    for archive in problems.archives:
        if not (folder / archive).exists():
            shutil.copy(folder / "images/all.tar.gz", folder / archive)
    entries = problems.index.entries
    assert problems.identity() == {"commit": COMMIT}
    assert problems.spec().identity == (("commit", COMMIT),)
    # Splits of their own are copies here, and a picture is in one split only.
    assert len(entries) == len(written.sample.good)
    assert {problems.side_of(entry.family) for entry in entries} == {"id", "ood"}
    for cell in problems.cells:
        split = next(split for split in ("train", "id", "ood") if problems.size(cell, split))
        task = problems.draw_task(cell, split, "test", 0)
        assert task.instruction.format == ("think_boxed" if cell == "alternative_format" else "think_answer")


@pytest.mark.parametrize("name", NAMES)
def test_another_revision_or_a_local_copy_can_be_named(name: str, known: Composer, write_dataset):
    pinned = problems_of(known, name, f"problems.revision={'f' * 40}")
    assert pinned.identity() == {"commit": "f" * 40}
    written = write_dataset(pinned.reader)
    files = "{train: ['*.json', '*.parquet', 'train/*.parquet']}"
    changes = [f"problems.path={written.folder}", "problems.splits={train: train, id: train, ood: train}"]
    archives = [f"problems.archives={written.sample.settings.get('archives', [])}".replace("'", "")]
    local = problems_of(known, name, *changes, *archives, f"problems.files={files}" if pinned.files else "seed=0")
    assert len(local.index.entries) == len(written.sample.good)
    assert set(local.identity()) == {"content"}
