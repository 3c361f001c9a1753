"""``specs-lab doctor`` says all that it finds at once, and ends with 2 if there is a fault."""

import json
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from huggingface_hub import constants

from specs_lab import doctor, run

ROWS = [{"id": "sound", "answer": "7", "kind": "integer"}, {"id": "also", "answer": "B"}]
BROKEN = [{"id": f"broken {i}", "answer": "7.5", "kind": "integer"} for i in range(30)]


def _run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        doctor.main(arguments)
    assert isinstance(ended.value.code, int)
    return ended.value.code


def _file(folder: Path, rows: list[dict]) -> str:
    path = folder / "rows.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return str(path)


def test_a_sound_file(tmp_path: Path, capsys):
    assert _run("--answers", _file(tmp_path, ROWS)) == 0
    assert "Every gold answer can be graded." in capsys.readouterr().out


def test_every_unusable_answer_is_listed_by_its_id(tmp_path: Path, capsys):
    assert _run("--answers", _file(tmp_path, ROWS + BROKEN)) == 2
    shown = capsys.readouterr().out
    assert all(f"rows.jsonl: broken {i}: '7.5' is no answer of type 'integer'" in shown for i in range(30))
    assert "sound:" not in shown


def test_a_sound_study_is_one_page_without_faults(tmp_path: Path, capsys):
    assert _run("experiment=smoke", "--tasks", "8", "--out", str(tmp_path / "page")) == 0
    shown = capsys.readouterr().out
    for check in ("disk", "memory", "versions", "gold answers: suite", "oracle: zero (id)", "prompts: ", "dry run: rl"):
        assert check in shown
    assert "0 faults" in shown
    record = json.loads((tmp_path / "page" / "findings.json").read_text())
    assert record["command"] == "specs-lab doctor experiment=smoke"
    assert {finding["level"] for finding in record["findings"]} <= {"ok", "note"}
    assert "| ok | disk |" in (tmp_path / "page" / "findings.md").read_text()


def test_all_faults_are_found_together(monkeypatch: pytest.MonkeyPatch, capsys):
    monkeypatch.setattr(shutil, "disk_usage", lambda place: SimpleNamespace(free=10))
    wrong = ("reward.terms.format.format=thinking_answer", "trainer.micro_batch_tokens=8")
    assert _run("experiment=smoke", "--tasks", "4", "--no-dry-run", *wrong) == 2
    shown = capsys.readouterr().out
    for line in ("fault   disk", "fault   oracle: rl", "fault   oracle: zero", "warning prompts: rl"):
        assert line in shown
    assert "dry run" not in shown
    assert "paths.cache" in shown


def test_what_cannot_be_reached_is_one_fault_though_many_checks_need_it(monkeypatch: pytest.MonkeyPatch, capsys):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert _run("model=qwen2_5_vl_7b", "problems=virl39k") == 2
    shown = capsys.readouterr().out
    assert "2 faults" in shown
    assert "fault   identity: model: Qwen/Qwen2.5-VL-7B-Instruct" in shown
    assert "fault   identity: problems: TIGER-Lab/ViRL39K" in shown


def test_a_wrong_override_is_a_user_error(capsys):
    assert _run("reward=none_such") == 2
    assert "none_such" in capsys.readouterr().err


def test_open_answers_need_a_judge_where_it_is_known_who_judges(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
):
    monkeypatch.setattr("specs_lab.problems.families.count.Count.answer_type", "open", raising=False)
    assert _run("experiment=smoke", "--tasks", "24", "--no-dry-run") == 2
    assert "nobody judges open answers" in capsys.readouterr().out
    assert _run("experiment=smoke", "--tasks", "24", "--no-dry-run", "judge=overlap") == 0


@pytest.mark.parametrize(
    "arguments", [("--tasks", "0"), ("seed=1", "--answers", "rows.jsonl"), ("--answers", "rows.jsonl", "--no-dry-run")]
)
def test_wrong_arguments_are_refused(arguments: tuple[str, ...]):
    assert _run(*arguments) == 2


def test_it_is_a_command_of_specs_lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys):
    monkeypatch.setattr(sys, "argv", ["specs-lab", "doctor", "--answers", _file(tmp_path, BROKEN)])
    with pytest.raises(SystemExit) as ended:
        run.main()
    assert ended.value.code == 2
