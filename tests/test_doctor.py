"""``specs-lab doctor`` lists gold answers that cannot be used, and ends with 2 if there are any."""

import json
import sys
from pathlib import Path

import pytest

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


def test_the_answers_of_a_study_are_sound(capsys):
    assert _run("experiment=smoke", "--tasks", "24") == 0
    shown = capsys.readouterr().out
    assert "suite" in shown
    assert "zero (id)" in shown


def test_a_wrong_override_is_a_user_error(capsys):
    assert _run("reward=none_such") == 2
    assert "none_such" in capsys.readouterr().err


def test_open_answers_need_a_judge_where_it_is_known_who_judges(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
):
    monkeypatch.setattr("specs_lab.problems.families.count.Count.answer_type", "open", raising=False)
    assert _run("experiment=smoke", "--tasks", "24") == 2
    assert "nobody judges open answers" in capsys.readouterr().out
    assert _run("experiment=smoke", "--tasks", "24", "judge=overlap") == 0


@pytest.mark.parametrize("arguments", [("--tasks", "0"), ("seed=1", "--answers", "rows.jsonl")])
def test_wrong_arguments_are_refused(arguments: tuple[str, ...]):
    assert _run(*arguments) == 2


def test_it_is_a_command_of_specs_lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys):
    monkeypatch.setattr(sys, "argv", ["specs-lab", "doctor", "--answers", _file(tmp_path, BROKEN)])
    with pytest.raises(SystemExit) as ended:
        run.main()
    assert ended.value.code == 2
