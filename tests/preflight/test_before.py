import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from huggingface_hub import constants

from specs_lab.core.errors import UserError
from specs_lab.core.progress import Progress
from specs_lab.preflight import before
from specs_lab.preflight.before import check_before_run
from specs_lab.preflight.needs import missing_stages
from specs_lab.run import main
from specs_lab.stages.context import JobInfo, Study
from specs_lab.stages.study import execute


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda place: SimpleNamespace(free=10))


def _said(study: Study) -> list[str]:
    messages: list[str] = []
    check_before_run(study, Progress(lambda event: messages.append(event["text"])))
    return messages


def test_a_sound_study_is_told_nothing(study: Callable[..., Study]):
    assert _said(study()) == []


@pytest.mark.usefixtures("full_disk")
def test_a_fault_stops_the_run_and_says_how_to_go_on(study: Callable[..., Study]):
    with pytest.raises(UserError) as raised:
        _said(study())
    (fault,) = raised.value.faults
    assert fault.where == "preflight: disk"
    assert "specs-lab doctor" in fault.fix
    assert "trainer.preflight=warn" in fault.fix


@pytest.mark.usefixtures("full_disk")
def test_a_fault_can_be_overridden(study: Callable[..., Study]):
    (message,) = _said(study("trainer.preflight=warn"))
    assert message.startswith("preflight: disk")
    assert _said(study("trainer.preflight=off")) == []


def test_what_may_not_fit_is_one_line(monkeypatch: pytest.MonkeyPatch, study: Callable[..., Study]):
    chosen = study()
    memory = before.memory_of(chosen.trainer)
    assert memory is not None
    small = SimpleNamespace(kind="cpu", name="small memory", total=memory.total, free=1)
    monkeypatch.setattr(before, "memory_of", lambda trainer: small)
    (message,) = _said(chosen)
    assert message.startswith("preflight: memory")


@pytest.mark.usefixtures("full_disk")
def test_a_study_that_is_in_the_store_is_not_looked_at(study: Callable[..., Study], tmp_path: Path):
    chosen = study()
    chosen.recipe.stages = {name: spec for name, spec in chosen.recipe.stages.items() if spec.kind == "base"}
    execute(chosen, JobInfo(folder=tmp_path / "job"), Progress())
    assert missing_stages(chosen) == []
    assert _said(chosen) == []


@pytest.mark.parametrize("how", ["strict", "warn", "off"])
def test_all_that_cannot_be_reached_is_said_at_once(
    how: str, study: Callable[..., Study], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(UserError) as raised:
        _said(study("model=qwen2_5_vl_7b", "problems=specs_86k", "suite=we_math", f"trainer.preflight={how}"))
    named = [fault.where for fault in raised.value.faults]
    assert len(named) == len(set(named)) == 4
    assert {"Qwen/Qwen2.5-VL-7B-Instruct", "TIGER-Lab/ViRL39K"} < set(named)


def test_a_model_of_unknown_shape_stops_nothing(study: Callable[..., Study], fake_model: list[str]):
    assert [message for message in _said(study(*fake_model)) if not message.startswith("preflight: settings")] == []


def test_looking_imports_nothing_slow():
    code = """
import json, sys
from specs_lab.cli.composition import composer
from specs_lab.cli.values import study_of
from specs_lab.core.progress import Progress
from specs_lab.preflight.before import check_before_run
with composer() as known:
    check_before_run(study_of(known.compose([])), Progress())
print(json.dumps(sorted({"transformers", "lightning", "peft", "datasets", "bitsandbytes"} & set(sys.modules))))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []


@pytest.mark.usefixtures("full_disk")
def test_the_command_line_ends_with_the_code_of_wrong_input(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, own_store: Path
):
    handler = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(sys, "argv", ["specs-lab", "experiment=smoke", f"hydra.run.dir={tmp_path / 'out'}"])
    try:
        with pytest.raises(SystemExit) as ended:
            main()
    finally:
        signal.signal(signal.SIGTERM, handler)
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert "preflight: disk" in said
    assert "Traceback" not in said
    assert not own_store.exists()
