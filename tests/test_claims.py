"""``specs-lab claim`` reaches the verdicts that this repository's experiments state."""

import shutil
import sys
from pathlib import Path

import pytest

from specs_lab import claim, run

EXPERIMENTS = Path(__file__).parents[1] / "experiments"
CLAIMS = sorted(path.parent.name for path in EXPERIMENTS.glob("*/verdict.json"))


@pytest.fixture
def experiments(tmp_path: Path) -> Path:
    """A copy that a test may write to."""
    return Path(shutil.copytree(EXPERIMENTS, tmp_path / "experiments"))


def refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as ended:
        claim.main(arguments)
    assert ended.value.code == 2
    return capsys.readouterr().err


@pytest.mark.parametrize("name", CLAIMS)
def test_a_stated_verdict_is_what_the_results_say(experiments, name):
    claim.main([str(experiments / name)])
    for file in ("verdict.json", "README.md"):
        assert (experiments / name / file).read_text() == (EXPERIMENTS / name / file).read_text()


def test_the_index_is_up_to_date(experiments):
    claim.main([str(experiments), "--index"])
    assert (experiments / "README.md").read_text() == (EXPERIMENTS / "README.md").read_text()


def test_verdicts_are_printed_with_what_they_depend_on(experiments, capsys):
    claim.main([str(experiments / "cold_start_order"), str(experiments / "rejected_side")])
    first, second = capsys.readouterr().out.splitlines()
    assert "cold_start_order: not confirmed. No test is yes" in first
    assert "rejected_side: confirmed." in second


def test_every_experiment_with_a_fault_is_named(experiments, capsys):
    (experiments / "rejected_side" / "README.md").write_text("no markers")
    said = refused([str(experiments / "default_study"), str(experiments / "rejected_side")], capsys)
    assert "2 problems" in said
    assert "default_study/expected.json: is missing" in said
    assert "rejected_side/README.md: does not have" in said


def test_it_is_a_command_of_the_suite(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(sys, "argv", ["specs-lab", "claim", str(tmp_path / "missing")])
    with pytest.raises(SystemExit) as ended:
        run.main()
    assert ended.value.code == 2
    assert "expected.json: is missing" in capsys.readouterr().err
