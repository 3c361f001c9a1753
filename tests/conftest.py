"""What holds for every test: offline, on one thread, with a store of its own."""

import os

# Before anything imports torch, matplotlib, wandb or transformers; child processes inherit it.
os.environ.update(
    HF_HUB_OFFLINE="1",
    MPLBACKEND="Agg",
    OMP_NUM_THREADS="1",
    TOKENIZERS_PARALLELISM="false",
    WANDB_MODE="offline",
    WANDB_SILENT="true",
)

from pathlib import Path

import pytest
from hypothesis import settings

# The same examples on every run, and no failures because the machine is busy.
settings.register_profile("specs_lab", deadline=None, derandomize=True)
settings.load_profile("specs_lab")


@pytest.fixture(autouse=True)
def own_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Points the store of finished stages, and W&B's files, at the test's temporary folder."""
    store = tmp_path / "store"
    monkeypatch.setenv("SPECS_LAB_CACHE", str(store))
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    return store
