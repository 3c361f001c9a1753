"""Where arms are compared, and what is estimated there."""

import dataclasses

import numpy as np
import pytest

from specs_lab.metrics.generalization_factor import gain_generalization_factor, generalization_factor
from specs_lab.metrics.statistics import factor_interval
from specs_lab.tracking.estimates import Estimator, compute_point, line_up, step_point
from specs_lab.tracking.frames import select
from specs_lab.tracking.scores import Reading, Scores


def make_scores(arm="sft", steps=(0, 10, 20), flops_a_step=1.0, seeds=2, problems=50, *, lift=1.0, stage="cold"):
    rng = np.random.default_rng(5)
    grow = np.linspace(0.2, 0.8, len(steps))[:, None, None] * lift
    draws = {cell: rng.random((1, seeds, problems)) for cell in ("id", "ood")}
    values = {(cell, m): (draws[cell] < grow).astype(float) for cell in draws for m in ("format", "joint")}
    flops = np.repeat(np.asarray(steps, dtype=float)[:, None] * flops_a_step, seeds, axis=1)
    tasks = {cell: tuple(f"{cell}/{i}" for i in range(problems)) for cell in draws}
    index = {seed: seed for seed in range(seeds)}
    return Scores(arm, stage, "coldstart", np.array(steps), flops, index, tasks, values, Reading())


def estimates(*scores, base=None, steps=()):
    curves = line_up(scores, steps)
    estimator = Estimator(200)
    for one in scores:
        estimator.add(one, base, curves.points(one))
    return estimator.table()


def one(table, **equal):
    (row,) = select(table, **{"versus": "", **equal}).to_dict(orient="records")
    return row


def test_arms_meet_at_their_last_common_step_and_their_least_compute():
    curves = line_up([make_scores("sft", (0, 5, 10, 20)), make_scores("dpo", (0, 10, 15), flops_a_step=2.0)])
    assert curves.steps == (10,)
    assert curves.flops == 20.0
    assert curves.notes == ()


def test_steps_can_be_chosen_and_missing_ones_are_named():
    curves = line_up([make_scores()], steps=(10, 15))
    assert curves.steps == (10,)
    assert curves.notes == ("step 15 is not compared: not every arm evaluated it",)


def test_an_arm_that_does_not_start_at_step_0_takes_no_part_at_equal_compute():
    curves = line_up([make_scores("sft"), make_scores("dpo", (5, 10), flops_a_step=0.1)])
    assert curves.flops == 20.0
    assert curves.notes == ("dpo is not compared at equal compute: its curve does not reach back to step 0",)
    assert {point.at for point in curves.points(curves.scores[1])} == {"curve", "last step", "equal steps"}


def test_an_arm_whose_reference_pass_costs_more_than_the_common_compute_is_left_out_for_that_reason():
    dear = make_scores("dpo", flops_a_step=2.0)
    dear.flops[:] += 30.0
    curves = line_up([make_scores("sft"), dear])
    assert curves.flops == 20.0
    why = "what it costs before its first step is already more than the common compute"
    assert curves.notes == (f"dpo is not compared at equal compute: {why}",)


def test_other_reasons_to_be_left_out_of_equal_compute_are_told_apart():
    unknown = make_scores("dpo")
    unknown.flops[1] = np.nan
    curves = line_up([make_scores("sft"), make_scores("short", (0,)), unknown])
    assert curves.flops == 20.0
    assert [note.partition(": ")[2] for note in curves.notes] == [
        "its curve is step 0 alone",
        "what it cost was not recorded",
    ]


def test_no_common_step_is_said():
    curves = line_up([make_scores("sft", (0, 5)), make_scores("dpo", (1, 6))])
    assert curves.steps == ()
    assert "nothing is compared at equal steps" in curves.notes[0]


def test_equal_compute_interpolates_each_seed_between_its_neighbours():
    scores = make_scores(steps=(0, 10, 20))
    scores.flops[:, 1] *= 2
    point = compute_point(scores, 15.0)
    np.testing.assert_allclose(point.weights, [[0, 0.25], [0.5, 0.75], [0.5, 0]])


@pytest.mark.parametrize("flops", [0.0, 10.0, 20.0])
def test_equal_compute_at_an_evaluated_step_is_that_step(flops):
    scores = make_scores(steps=(0, 10, 20))
    expected = step_point("curve", scores, int(flops)).weights
    np.testing.assert_allclose(compute_point(scores, flops).weights, expected)


def test_equal_compute_is_not_extrapolated():
    assert compute_point(make_scores(steps=(0, 10)), 11.0) is None


def test_values_are_means_and_raw_and_gain_factors_of_them():
    scores = make_scores()
    table = estimates(scores, base=scores)
    means = {cell: scores.values[cell, "joint"].mean(axis=(1, 2)) for cell in ("id", "ood")}
    last = {"stage": "cold", "at": "equal steps"}
    assert one(table, cell="ood", metric="joint", **last)["value"] == means["ood"][-1]
    assert one(table, cell="ood", metric="gain_joint", **last)["value"] == pytest.approx(
        means["ood"][-1] - means["ood"][0]
    )
    raw, gain = (one(table, metric=f"gf_joint_{of}", **last) for of in ("raw", "gain"))
    assert raw["value"] == generalization_factor(means["id"][-1], means["ood"][-1])
    assert gain["value"] == pytest.approx(
        gain_generalization_factor(means["id"][-1], means["ood"][-1], means["id"][0], means["ood"][0])
    )
    assert (raw["cell"], raw["n"], raw["seeds"], raw["step"], raw["flops"]) == ("id + ood", 50, 2, 20.0, 20.0)
    assert raw["low"] < raw["value"] < raw["high"]


def test_the_gap_is_the_id_cell_less_the_ood_cell_and_is_compared_between_arms():
    first, second = make_scores("sft"), make_scores("dpo", lift=0.5)
    first.values["ood", "joint"][-1], first.values["id", "joint"][-1] = 0.0, 1.0
    second.values["ood", "joint"][-1], second.values["id", "joint"][-1] = 1.0, 0.0
    table = estimates(first, second)
    last = {"at": "equal steps", "metric": "gap_joint", "cell": "id + ood"}
    assert one(table, arm="sft", **last)["value"] == 1.0
    assert one(table, arm="dpo", **last)["value"] == -1.0
    assert one(table, arm="dpo", **{**last, "versus": "sft"})["value"] == -2.0


def test_intervals_match_the_statistics_package():
    scores = make_scores(seeds=3)
    row = one(estimates(scores), metric="gf_joint_raw", at="last step")
    expected = factor_interval(scores.values["id", "joint"][-1], scores.values["ood", "joint"][-1], resamples=4000)
    assert (row["low"], row["high"]) == pytest.approx((expected.low, expected.high), abs=0.03)


def test_a_negative_gain_stays_visible_and_makes_the_factor_undefined():
    scores = make_scores()
    scores.values["ood", "joint"][-1] = 0.0
    table = estimates(scores, base=scores)
    gain = one(table, metric="gain_joint", cell="ood", at="last step")["value"]
    factor = one(table, metric="gf_joint_gain", at="last step")
    assert gain == -scores.values["ood", "joint"][0].mean()
    assert np.isnan([factor["value"], factor["low"]]).all()
    assert factor["note"] == f"OOD is negative ({gain:+.4g})"
    assert one(table, metric="gf_joint_raw", at="last step")["value"] == 0.0


def test_differences_between_arms_are_paired():
    table = estimates(make_scores("sft"), make_scores("dpo"))
    (row,) = select(table, versus="sft", at="equal steps", cell="ood", metric="joint").to_dict(orient="records")
    assert (row["arm"], row["value"], row["low"], row["high"]) == ("dpo", 0.0, 0.0, 0.0)


def test_differences_have_the_sign_of_arm_minus_versus():
    table = estimates(make_scores("sft", seeds=5), make_scores("dpo", lift=0.5, seeds=5))
    (row,) = select(table, versus="sft", at="equal steps", cell="ood", metric="joint").to_dict(orient="records")
    assert row["arm"] == "dpo"
    assert row["low"] <= row["value"] <= row["high"] < 0


def rename(scores, **changes):
    """Scores with other seeds or tasks."""
    return dataclasses.replace(scores, **changes)


def compare(*scores):
    curves, estimator = line_up(scores), Estimator(100)
    for each in scores:
        estimator.add(each, None, curves.points(each))
    return select(estimator.table(), versus=[each.arm for each in scores]), estimator.notes()


def test_arms_of_different_seeds_are_not_compared():
    other = rename(make_scores("dpo"), seed_index={1: 0, 2: 1})
    table, notes = compare(make_scores("sft"), other)
    assert table.empty
    assert notes == ["dpo and sft are not compared in cold: different seeds"]


def test_only_cells_with_the_same_problems_are_compared():
    dpo = make_scores("dpo")
    other = rename(dpo, tasks={**dpo.tasks, "ood": tuple(reversed(dpo.tasks["ood"]))})
    table, notes = compare(make_scores("sft"), other)
    assert set(table["cell"]) == {"id"}
    assert notes == ["dpo and sft are not compared in cold: different problems (ood)"]


@pytest.mark.parametrize("seeds", [1, 3])
@pytest.mark.parametrize("undefined", ["first", "second"])
def test_a_difference_with_an_undefined_arm_has_no_interval(seeds, undefined):
    first, second = make_scores("sft", seeds=seeds), make_scores("dpo", seeds=seeds)
    {"first": first, "second": second}[undefined].values["ood", "joint"][-1] = 0.0
    base, curves, estimator = make_scores(seeds=seeds), line_up([first, second]), Estimator(100)
    for each in (first, second):
        estimator.add(each, base, curves.points(each))
    difference = select(estimator.table(), versus="sft", metric="gf_joint_gain", at="equal steps")
    assert difference[["value", "low", "high"]].isna().all(axis=None)
    assert difference["note"].item() == "undefined for one of the arms"


def test_intervals_stay_within_what_is_possible():
    few, lower = make_scores(seeds=2, problems=4), make_scores("dpo", seeds=2, problems=4, lift=0.3)
    lower.values["ood", "joint"][:, 0] = 0.0
    curves, estimator = line_up([few, lower]), Estimator(200)
    for each in (few, lower):
        estimator.add(each, few, curves.points(each))
    table = estimator.table()
    gap = table["metric"].str.startswith("gap_")
    signed = (table["versus"] != "") | table["metric"].str.startswith("gain_") | gap
    ends = table[["low", "high"]]
    assert (ends[signed & ~gap].min().min(), ends[signed & ~gap].max().max()) == (-1.0, 1.0)
    assert ends[gap & (table["versus"] == "")].abs().max().max() <= 1.0
    assert ends[gap].abs().max().max() <= 2.0
    assert (ends[~signed].min().min(), ends[~signed].max().max()) == (0.0, 1.0)


def test_steps_are_compared_each_with_itself():
    table = estimates(make_scores("sft"), make_scores("dpo"), steps=(10, 20))
    compared = select(table, versus="sft", at="equal steps", cell="id", metric="joint")
    assert compared["step"].tolist() == [10.0, 20.0]
