from pathlib import Path

import pytest

from specs_lab.cli.composition import Composer
from specs_lab.cli.preflight import check_command_line, find_faults
from specs_lab.core.errors import Fault, UserError


def _faults(known: Composer, overrides: list[str], sweep: bool = False) -> dict[str, Fault]:
    return {fault.where: fault for fault in find_faults(known, overrides, sweep=sweep)}


def test_a_right_command_line_has_no_faults(known: Composer, fake_model: list[str]) -> None:
    assert _faults(known, [*fake_model, "coldstart=sft", "coldstart.lr=1e-3", "seed=3"]) == {}
    assert _faults(known, [*fake_model, "coldstart=none,sft", "seed=range(0,2)"], sweep=True) == {}


def test_faults_of_every_sort_are_found_at_once(known: Composer, fake_model: list[str]) -> None:
    wrong = {
        "coldstart": "coldstart=dppo",
        "rl.lrr": "rl.lrr=1",
        "suite.n": "suite.n=many",
        "zero.lr": "zero.lr=-1",
        "reward.format_weight": "reward.format_weight=-0.5",
        "seed": "seed=1.5",
        "suit": "suit=quick",
        "x": "x=[",
        "data.pairs": "data.pairs=1,2",
        "rl.mixture": "rl.mixture=[nowhere]",
    }
    assert set(_faults(known, [*fake_model, *wrong.values()])) == set(wrong)


@pytest.mark.parametrize(
    ("override", "where", "meant"),
    [
        ("coldstart=hybird", "coldstart", "hybrid"),
        ("rl@zero=grop", "rl@zero", "grpo"),
        ("coldstrat=sft", "coldstrat", "coldstart"),
        ("coldstart.stepz=3", "coldstart.stepz", "steps"),
        ("experiment=smok", "experiment", "smoke"),
        ("rl.mixture=[odd]", "rl.mixture", "ood"),
    ],
)
def test_a_wrong_name_is_answered_by_the_one_that_was_meant(
    known: Composer, fake_model: list[str], override: str, where: str, meant: str
) -> None:
    fault = _faults(known, [*fake_model, override])[where]
    assert f"did you mean '{meant}'?" in fault.fix


def test_options_of_a_choice_that_does_not_exist_are_not_blamed(known: Composer, fake_model: list[str]) -> None:
    assert set(_faults(known, [*fake_model, "coldstart=dppo", "coldstart.anything=1"])) == {"coldstart"}


def test_options_are_those_of_the_chosen_group_in_any_order(known: Composer, fake_model: list[str]) -> None:
    assert _faults(known, [*fake_model, "coldstart.beta=0.2", "coldstart=dpo"]) == {}
    assert set(_faults(known, [*fake_model, "coldstart.beta=0.2", "coldstart=sft"])) == {"coldstart.beta"}


def test_a_value_that_must_be_given_is_asked_for(known: Composer) -> None:
    fault = _faults(known, ["model=folder"])["model.path"]
    assert fault.fix == "add model.path=<value>"


@pytest.mark.parametrize(
    "override",
    [
        "+coldstart._target_=os.system",
        "+extra={_target_:os.system}",
        "++recipe.stages.zero.options._target_=os.system",
        "+extra.list=[{_target_:os.system}]",
    ],
)
def test_no_override_can_name_code_to_call(known: Composer, fake_model: list[str], override: str) -> None:
    assert any("_target_" in fault.where for fault in find_faults(known, [*fake_model, override], sweep=False))


def test_unknown_nodes_are_refused(known: Composer, fake_model: list[str]) -> None:
    assert set(_faults(known, [*fake_model, "+extra.lr=1"])) == {"extra"}


@pytest.mark.parametrize("removed", ["recipe", "trainer", "paths"])
def test_what_no_study_can_do_without_is_asked_for(known: Composer, fake_model: list[str], removed: str) -> None:
    assert removed in _faults(known, [*fake_model, f"~{removed}"])


def test_a_fault_of_some_jobs_of_a_sweep_says_of_which(known: Composer, fake_model: list[str]) -> None:
    faults = find_faults(known, [*fake_model, "coldstart=sft,spo", "coldstart.lr=0.1,0", "seed=-1"], sweep=True)
    said = {(fault.where, fault.what) for fault in faults}
    assert said == {
        ("seed", "'-1' is no seed"),
        ("coldstart.lr", "0.0 is not positive [job #1 (coldstart=sft coldstart.lr=0)]"),
        ("coldstart", "there is no 'spo' [job #2 (coldstart=spo coldstart.lr=0.1), #3 (coldstart=spo coldstart.lr=0)]"),
    }


def test_a_sweep_is_expanded_as_hydra_does(known: Composer, fake_model: list[str]) -> None:
    faults = find_faults(
        known, [*fake_model, "suite.n=choice(4,0)", "seed=range(-1,1)", "coldstart=glob(*)"], sweep=True
    )
    assert sorted(fault.where for fault in faults) == ["seed", "suite.n"]


def test_the_number_of_parallel_jobs_is_checked(known: Composer, fake_model: list[str]) -> None:
    assert set(_faults(known, [*fake_model, "hydra.launcher.n_jobs=0"])) == {"hydra.launcher.n_jobs"}
    assert set(_faults(known, [*fake_model, "hydra.launcher.n_jobs=two"])) == {"hydra.launcher.n_jobs"}


def test_faults_of_flags_are_found(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        check_command_line(["--config-path", ".", "--experimental-rerun", "x", "--config-dir", str(tmp_path / "none")])
    assert [fault.where for fault in caught.value.faults] == ["--experimental-rerun", "--config-path", "--config-dir"]


def test_a_folder_of_ones_own_adds_choices(tmp_path: Path, fake_model: list[str]) -> None:
    (tmp_path / "suite").mkdir()
    (tmp_path / "suite" / "own.yaml").write_text("defaults:\n  - cells\n  - _self_\nn: 0\n")
    with pytest.raises(UserError) as caught:
        check_command_line([f"--config-dir={tmp_path}", *fake_model, "suite=own"])
    assert [fault.where for fault in caught.value.faults] == ["suite.n"]


def test_broken_yaml_in_a_folder_of_ones_own_is_a_fault(tmp_path: Path, fake_model: list[str]) -> None:
    (tmp_path / "suite").mkdir()
    (tmp_path / "suite" / "own.yaml").write_text("a: [\n")
    with pytest.raises(UserError) as caught:
        check_command_line([f"--config-dir={tmp_path}", *fake_model, "suite=own"])
    assert [fault.where for fault in caught.value.faults] == ["suite"]


@pytest.mark.parametrize("flag", ["--help", "--hydra-help", "--info=all"])
def test_who_asks_for_help_is_not_lectured(flag: str) -> None:
    assert check_command_line([flag, "coldstart=dppo"]) is None


def test_cfg_shows_configurations_whose_values_are_not_complete() -> None:
    assert check_command_line(["--cfg", "job", "model=folder"]) is None
    with pytest.raises(UserError):
        check_command_line(["--cfg", "job", "coldstart=dppo"])


def test_every_fault_is_readable(known: Composer) -> None:
    for fault in find_faults(known, ["model=folder", "rl=gpo", "rl.x=1", "suite.n=[1]", "x.y=1"], sweep=False):
        for part in (fault.where, fault.what, fault.fix):
            assert part.strip()
            assert "\n" not in part
