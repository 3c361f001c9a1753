"""Efficiencies are found again from points that were made with them."""

from dataclasses import replace

import pytest

from specs_lab.models.sources.embedded import CHECKPOINTS
from specs_lab.preflight.loads import Pass, Setup
from specs_lab.preflight.shapes import shape_of_folder
from specs_lab.scaling.calibration import FITTED, START, Measured, error, fit, summary
from specs_lab.scaling.hardware import Hardware
from specs_lab.scaling.rollouts import Rollout
from specs_lab.scaling.steps import Step

CPU = Hardware(name="cpu", flops=8e10, memory=1e12, bandwidth=2e10, link=1, network=1, kind="cpu", source="made up")
TRUE = replace(START, mfu=0.4, mbu=0.8, launch_s=1e-4, step_s=1e-2, row_s=1e-3, picture_s=5e-3, narrow=100.0)


def _points() -> list[Measured]:
    found = []
    for name in ("tiny-0", "small-0"):
        shape = shape_of_folder(CHECKPOINTS / name)
        for prompts, length in ((1, 8), (32, 48)):
            load = Pass(prompts=prompts, prompt_tokens=80, branches=4, completion_tokens=length)
            rollout = Rollout(prompts=prompts, group=4, prompt_tokens=80, mean=length, most=length)
            whole = Step(load=load, rollout=rollout, patches=64 * prompts, pictures=prompts, encoded=True)
            for step in (whole, replace(whole, rollout=None, encoded=False), replace(whole, load=None, encoded=False)):
                point = Measured.of(shape, Setup(), step, 1.0)
                found.append(replace(point, seconds=point.predicted(CPU, TRUE).total))
    return found


def test_made_up_points_are_fitted_closely():
    points = _points()
    found = fit(points, CPU)
    assert error(points, CPU, found) < 0.01 < error(points, CPU, START)


def test_shares_of_peaks_stay_shares():
    points = [replace(point, seconds=point.seconds / 100) for point in _points()]
    found = fit(points, CPU)
    assert found.mfu <= 1
    assert found.mbu <= 1


def test_fewer_points_than_efficiencies_are_refused():
    with pytest.raises(ValueError, match="cannot be fitted"):
        fit(_points()[: len(FITTED) - 1], CPU)


def test_the_summary_names_the_worst_whichever_side_it_is_on():
    said = summary({"a": 1.0, "b": 0.25, "c": 2.0})
    assert said == {
        "points": 3,
        "median_ratio": 1.0,
        "median_error": 1.0,
        "worst_error": 3.0,
        "worst": "b",
        "within_2": 2,
    }
    with pytest.raises(ValueError, match="no ratios"):
        summary({})
