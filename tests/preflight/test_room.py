import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from specs_lab.preflight.device import Memory, main_memory
from specs_lab.preflight.loads import Estimate
from specs_lab.preflight.needs import Need
from specs_lab.preflight.room import check_disk, check_memory

GIB = 1 << 30
MODEL = Estimate({"weights": 2 * GIB, "optimizer states": 4 * GIB}, {"activations": 3 * GIB}, {"logits": GIB})
TRAINED = Need(stage="final", kind="rl", disk=3 * GIB, weights_on_disk=2 * GIB, memory=MODEL)


def _memory(total: int, free: int | None = None) -> Memory:
    return Memory(kind="cpu", name="main memory", total=total, free=total if free is None else free)


@pytest.mark.parametrize(("free", "level"), [(GIB, "fault"), (3 * GIB, "warning"), (4 * GIB, "ok")])
def test_too_small_a_disk(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, free: int, level: str):
    monkeypatch.setattr(shutil, "disk_usage", lambda place: SimpleNamespace(free=free))
    finding = check_disk(tmp_path / "not" / "made" / "yet", [TRAINED])
    assert finding.level == level
    assert ("paths.cache" in finding.fix) == (level != "ok")


@pytest.mark.parametrize(
    ("memory", "level"),
    [
        (_memory(5 * GIB), "fault"),
        (_memory(8 * GIB), "warning"),
        (_memory(64 * GIB, free=8 * GIB), "warning"),
        (_memory(64 * GIB), "ok"),
        (None, "note"),
    ],
)
def test_too_little_memory(memory: Memory | None, level: str):
    finding = check_memory(memory, [TRAINED])
    assert finding.level == level
    if level == "fault":
        assert "holds 6.0 GiB whatever its batches" in finding.what
        assert "adapter=lora" in finding.fix
    assert finding.figures["peak_bytes"] == 9 * GIB


def test_an_adapter_is_not_advised_to_who_has_one():
    need = Need(stage="final", kind="rl", disk=0, weights_on_disk=0, memory=MODEL, adapter=True)
    assert "adapter=lora;" not in check_memory(_memory(8 * GIB), [need]).fix


def test_stages_without_a_model_need_no_memory():
    assert check_memory(_memory(1), [Need(stage="x", kind="rl", disk=0, weights_on_disk=0)]).level == "ok"


def test_the_memory_of_a_container_is_its_limit(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    (tmp_path / "meminfo").write_text("MemTotal: 8388608 kB\nMemAvailable: 4194304 kB\n")
    (tmp_path / "memory.max").write_text(f"{2 * GIB}\n")
    (tmp_path / "memory.current").write_text(f"{GIB}\n")
    (tmp_path / "memory.stat").write_text(f"anon 1\ninactive_file {GIB // 2}\n")
    monkeypatch.setattr("specs_lab.preflight.device._MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr("specs_lab.preflight.device._CGROUP", tmp_path)
    found = main_memory()
    assert found is not None
    assert (found.total, found.free) == (2 * GIB, 3 * GIB // 2)
    (tmp_path / "memory.max").write_text("max\n")
    found = main_memory()
    assert found is not None
    assert (found.total, found.free) == (8 * GIB, 4 * GIB)


def test_a_machine_that_does_not_tell_its_memory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr("specs_lab.preflight.device._MEMINFO", tmp_path / "none")
    assert main_memory() is None
