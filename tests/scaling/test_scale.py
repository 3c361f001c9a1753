"""``specs-lab scale``: the composed study on other machines; and a page that says what a file says."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import tables
from benchmarks.scale_model import DOC, GPUS, MODELS
from benchmarks.scale_points import RESULTS, fresh_points
from specs_lab import run, scale
from specs_lab.objectives.none import NoColdStart
from specs_lab.scaling.calibration import FITTED
from specs_lab.scaling.loads import loads_of
from specs_lab.stages.context import Study
from specs_lab.stages.graph import plan

SPECS = ("experiment=full/specs", "trainer.gradient_checkpointing=true")


def _run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        scale.main(arguments)
    assert isinstance(ended.value.code, int)
    return ended.value.code


@pytest.fixture(scope="module")
def full() -> Study:
    return scale.compose_study(SPECS)


def test_the_full_study_is_priced_without_a_gpu_or_a_network(full: Study, monkeypatch: pytest.MonkeyPatch, capsys):
    monkeypatch.setattr(scale, "compose_study", lambda given: full if tuple(given) == SPECS else None)
    scale.main([*SPECS, "--gpus", "8", "--engine", "vllm", "--json"])
    said = json.loads(capsys.readouterr().out)
    assert (said["gpus"], said["hardware"], said["strategy"], said["fits"]) == (8, "h100", "fsdp2", True)
    stages = {stage["stage"]: stage for stage in said["stages"]}
    assert list(stages) == ["zero", "pairs", "cold", "final", "evaluate_base", "evaluate_zero", "evaluate_final"]
    assert stages["cold"]["method"] == "hybrid"
    assert stages["final"]["flops"] == pytest.approx(8 * stages["zero"]["flops"])  # 800 steps and 100
    assert said["hours"]["fast"] < said["hours"]["central"] < said["hours"]["slow"]
    assert said["gpu_hours"]["central"] == pytest.approx(8 * said["hours"]["central"])


def test_the_table_names_what_does_not_fit(full: Study, monkeypatch: pytest.MonkeyPatch, capsys):
    monkeypatch.setattr(scale, "compose_study", lambda _: full)
    scale.main(["--gpus", "1"])
    shown = capsys.readouterr().out
    assert "too large" in shown
    assert "final does not fit: " in shown
    assert "optimizer states" in shown


def test_all_that_is_wrong_with_the_flags_is_told_at_once(capsys):
    assert _run("--gpus", "0", "--engine", "vlm", "--strategy", "fsdp") == 2
    said = capsys.readouterr().err
    assert "3 problems" in said
    assert "did you mean 'vllm'" in said
    assert "did you mean 'fsdp2'" in said


def test_unknown_hardware_ends_with_2_and_a_suggestion(capsys):
    assert _run("--hardware", "h1000") == 2
    assert "did you mean 'h100'" in capsys.readouterr().err


def test_it_is_a_command_of_its_own():
    assert run.COMMANDS["scale"] == "specs_lab.scale"


def test_stages_and_their_loads_are_those_of_the_plan():
    """But for stages that compute nothing: base models are only linked."""
    study = scale.compose_study(["coldstart=sft", "rl.kl_weight=0.1"])
    loads = {load.name: load for load in loads_of(study)}
    assert set(loads) == {stage.name for stage in plan(study) if stage.kind != "base"}
    assert (loads["cold"].method, loads["cold"].branches, loads["cold"].pairs) == ("sft", 1, 0)
    assert (loads["final"].batch, loads["final"].branches) == (study.rl.prompts_per_step, study.rl.group_size)
    assert loads["final"].references == 1
    assert loads["zero"].references == 0
    assert loads["final"].setup.copied_reference
    assert loads["pairs"].asked[0].group == study.data.chosen_samples + study.data.rejected_samples
    none = NoColdStart()
    skipped = {load.name for load in loads_of(replace(study, coldstart=none))}
    assert skipped == {stage.name for stage in plan(replace(study, coldstart=none)) if stage.kind != "base"}
    assert "pairs" not in skipped


# --- the page ---


@pytest.mark.parametrize("name", ["scale_model", "scale_predictions"])
def test_the_page_says_what_the_file_says(name: str):
    text = DOC.read_text(encoding="utf-8")
    content = tables.table(json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8")))
    said = "run: python -m benchmarks.scale_model" + " --predict" * (name == "scale_predictions")
    assert tables.insert(text, name, content) == text, said


def test_every_size_and_number_of_devices_is_predicted():
    results = json.loads((RESULTS / "scale_predictions.json").read_text(encoding="utf-8"))
    there = {(plan["model"].lower(), plan["gpus"]) for plan in results["plans"] if plan["adapter"] == "all"}
    assert there == {(model, gpus) for model in MODELS for gpus in GPUS}


def test_calibration_and_held_out_points_are_apart_and_as_declared():
    results = json.loads((RESULTS / "scale_model.json").read_text(encoding="utf-8"))
    declared = {one.name: one.calibrates for one in fresh_points()}
    measured = {one["name"]: one["group"] for one in results["points"] if one["group"] in ("calibration", "held out")}
    assert measured == {name: "calibration" if fits else "held out" for name, fits in declared.items()}
    assert set(results["fitted"]) == set(FITTED)
    for one in results["points"]:
        assert one["ratio"] == pytest.approx(one["measured"] / one["predicted"], rel=1e-4)


def test_the_figure_is_there():
    assert Path(RESULTS / "scale_model.png").stat().st_size > 10_000
