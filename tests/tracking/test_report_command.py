"""The command that summarises a sweep again."""

import csv

import pytest

from specs_lab.report import main


@pytest.fixture
def two_rates(sweep):
    for rate in ("3e-4", "1e-3"):
        for arm in ("sft", "dpo"):
            stages = sweep.shared(0) if not sweep.jobs else {}
            cold = sweep.measured("coldstart", f"{arm}{rate}", lambda cell, step: 0.5, (0, 10), 1e9)
            sweep.job(f"{arm} lr={rate}", 0, {**stages, "cold": ("coldstart", cold)})
    return sweep


def refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    return capsys.readouterr().err


def test_a_folder_without_jobs_is_a_user_error(tmp_path, capsys):
    for folder in (tmp_path, tmp_path / "missing"):
        assert "no finished jobs" in refused([str(folder)], capsys)


def test_arms_can_be_chosen_by_pattern(two_rates, tmp_path):
    out, markdown = tmp_path / "out", tmp_path / "results.md"
    main([str(two_rates.folder), "--arms", "*lr=1e-3", "--out", str(out), "--markdown", str(markdown)])
    with (out / "summary.csv").open() as file:
        arms = {row["arm"] for row in csv.DictReader(file) if row["stage"] == "cold"}
    assert arms == {"sft lr=1e-3", "dpo lr=1e-3"}
    assert "3e-4" not in markdown.read_text()
    assert "only arms called *lr=1e-3" in markdown.read_text()


def test_a_part_never_replaces_the_summary_of_the_whole(two_rates, capsys):
    main([str(two_rates.folder)])
    before = (two_rates.folder / "summary.csv").read_bytes()
    for out in ([], ["--out", str(two_rates.folder / ".." / two_rates.folder.name)]):
        assert "give --out" in refused([str(two_rates.folder), "--arms", "sft*", *out], capsys)
    assert (two_rates.folder / "summary.csv").read_bytes() == before


def test_jobs_that_were_killed_stay_in_whatever_arm_they_were(two_rates, tmp_path, capsys):
    killed = two_rates.folder / "9_sft"
    killed.mkdir()
    (killed / "job.log").write_text("")
    main([str(two_rates.folder), "--arms", "dpo lr=1e-3", "--out", str(tmp_path / "out")])
    assert "9_sft failed: it was killed" in capsys.readouterr().out


def test_an_arm_fits_its_own_name_whatever_signs_are_in_it(sweep, tmp_path):
    stages = sweep.shared(0)
    cold = sweep.measured("coldstart", "cold", lambda cell, step: 0.5, (0, 10), 1e9)
    sweep.job("sft mixture=[id]", 0, {**stages, "cold": ("coldstart", cold)})
    main([str(sweep.folder), "--arms", "sft mixture=[id]", "--out", str(tmp_path / "out")])
    assert (tmp_path / "out" / "summary.csv").is_file()


def test_a_pattern_that_fits_no_arm_is_a_user_error(two_rates, tmp_path, capsys):
    error = refused([str(two_rates.folder), "--arms", "sft*", "--arms", "dqo*", "--out", str(tmp_path / "out")], capsys)
    assert "dqo*" in error
    assert "--arms sft*" not in error
    assert "dpo lr=1e-3" in error
    assert not (tmp_path / "out").exists()
