"""Makes the package `benchmarks`, which is not installed, importable from the repository's root."""

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))


@pytest.fixture(autouse=True)
def own_checkpoints(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Checkpoints that a test makes do not outlive it."""
    monkeypatch.setenv("SPECS_LAB_BENCH_CACHE", str(tmp_path_factory.getbasetemp() / "bench"))
