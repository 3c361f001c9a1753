"""hydra.searchpath: choices from other places are checked like those of specs_lab, and wrong places are faults."""

from pathlib import Path

import pytest
import specs_lab.conf

from specs_lab.cli.composition import Composer
from specs_lab.cli.preflight import check_command_line, find_faults
from specs_lab.cli.resolvers import choices
from specs_lab.cli.search_path import place_of, search_path_faults
from specs_lab.core.errors import UserError

SUITE = "# {0}\ndefaults:\n  - cells\n  - _self_\nn: {0}\n"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder of YAML files with a suite `own` of 5 problems, and one `none` of 0, which is a fault."""
    folder = tmp_path / "place"
    (folder / "suite").mkdir(parents=True)
    for name, n in (("own", 5), ("none", 0)):
        (folder / "suite" / f"{name}.yaml").write_text(SUITE.format(n))
    return folder


def _faults(known: Composer, overrides: list[str], sweep: bool = False) -> list[tuple[str, str]]:
    return [(fault.where, fault.what) for fault in find_faults(known, overrides, sweep=sweep)]


def test_choices_of_the_place_are_known_wherever_the_override_stands(
    known: Composer, fake_model: list[str], place: Path
) -> None:
    there = f"hydra.searchpath=[file://{place}]"
    assert _faults(known, [*fake_model, "suite=own", there]) == []
    assert _faults(known, [there, "suite=none", *fake_model]) == [("suite.n", "0 is less than 1")]
    assert _faults(known, ["suite=own", *fake_model]) == [("suite", "there is no 'own'")]


def test_other_faults_do_not_hide_the_choices_of_the_place(known: Composer, fake_model: list[str], place: Path) -> None:
    wrong = ["suite=own", "rl.lrr=1", "suite.n=many", f"hydra.searchpath=[file://{place}]"]
    assert [where for where, _ in _faults(known, [*fake_model, *wrong])] == ["rl.lrr", "suite.n"]


def test_a_wrong_choice_is_answered_by_one_of_the_place(known: Composer, fake_model: list[str], place: Path) -> None:
    (fault,) = find_faults(known, [*fake_model, "suite=owm", f"hydra.searchpath=[file://{place}]"], sweep=False)
    assert "did you mean 'own'?" in fault.fix


def test_jobs_of_a_sweep_know_the_choices_of_the_place(known: Composer, fake_model: list[str], place: Path) -> None:
    overrides = [*fake_model, "suite=own,none,quick", f"hydra.searchpath=[file://{place}]"]
    assert _faults(known, overrides, sweep=True) == [("suite.n", "0 is less than 1 [job #1 (suite=none)]")]


def test_a_place_and_a_folder_given_by_flag_go_together(tmp_path: Path, fake_model: list[str], place: Path) -> None:
    (tmp_path / "flag" / "rl").mkdir(parents=True)
    (tmp_path / "flag" / "rl" / "own.yaml").write_text("defaults:\n  - grpo\n  - _self_\nsteps: 0\n")
    with pytest.raises(UserError) as caught:
        check_command_line(
            [f"--config-dir={tmp_path / 'flag'}", f"hydra.searchpath=[{place}]", *fake_model, "rl=own", "suite=none"]
        )
    assert [fault.where for fault in caught.value.faults] == ["rl.steps", "suite.n"]


def test_a_primary_configuration_may_name_the_place(tmp_path: Path, fake_model: list[str], place: Path) -> None:
    (tmp_path / "flag").mkdir()
    (tmp_path / "flag" / "lab.yaml").write_text(
        f"defaults:\n  - config\n  - _self_\nhydra:\n  searchpath: ['file://{place}']\n"
    )
    flags = [f"--config-dir={tmp_path / 'flag'}", "--config-name=lab"]
    assert check_command_line([*flags, *fake_model, "suite=own"]) is None
    with pytest.raises(UserError) as caught:
        check_command_line([*flags, *fake_model, "suite=none"])
    assert [fault.where for fault in caught.value.faults] == ["suite.n"]


@pytest.mark.parametrize(
    ("value", "what"),
    [
        ("nowhere", "'nowhere' is no list of places"),
        ("[1]", "'[1]' is no list of places"),
        ("null", "'None' is no list of places"),
        ("[pkg://no_such_package.conf]", "there is no 'pkg://no_such_package.conf'"),
        ("[pkg://]", "there is no 'pkg://'"),
        ("[file:///no/such/folder]", "there is no 'file:///no/such/folder'"),
        ("[s3://bucket]", "there is no 's3://bucket'"),
    ],
)
def test_wrong_places_are_faults(known: Composer, fake_model: list[str], value: str, what: str) -> None:
    assert _faults(known, [*fake_model, f"hydra.searchpath={value}"]) == [("hydra.searchpath", what)]


def test_a_package_without_an_init_file_is_no_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "package_without_an_init_file").mkdir()
    monkeypatch.syspath_prepend(str(tmp_path))
    assert place_of("pkg://package_without_an_init_file") is None
    assert place_of(f"file://{tmp_path}/package_without_an_init_file") is not None
    assert place_of("pkg://specs_lab.conf") is not None


def test_the_places_cannot_be_swept(known: Composer, fake_model: list[str], place: Path) -> None:
    (fault,) = _faults(known, [*fake_model, f"hydra.searchpath=[{place}],[]"], sweep=True)
    assert fault == ("hydra.searchpath", "Hydra's own settings cannot be swept")


def test_a_file_that_is_never_read_is_a_fault(place: Path) -> None:
    """Hydra takes the first of a name, which is that of specs_lab, and says nothing."""
    (place / "suite" / "cells.yaml").write_text(SUITE.format(7))
    (place / "config.yaml").write_text("")  # a primary configuration; read by --config-name only
    (fault,) = search_path_faults([str(place)])
    assert fault.what.startswith("'suite/cells.yaml' in ")


def test_help_lists_the_choices_of_a_place_among_the_others(place: Path) -> None:
    listed = choices([place]).splitlines()
    suites = listed[listed.index("suite") + 1 : listed.index("teacher")]
    shipped = {path.stem for path in (Path(specs_lab.conf.__file__).parent / "suite").glob("*.yaml")}
    assert [line.split()[0] for line in suites] == sorted({*shipped, "own", "none"})
