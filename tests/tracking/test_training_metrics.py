"""Training metrics are told with intervals over runs, and each run's curve is summed up."""

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from specs_lab.core.budget import Budget
from specs_lab.tracking.frames import load_sweep, select
from specs_lab.tracking.report import estimate, summarise
from specs_lab.tracking.rows import RowWriter
from specs_lab.tracking.tables import difference_table
from specs_lab.tracking.training_metrics import (
    curve_statistics,
    student_interval,
    training_estimates,
    training_rows,
    training_table,
)


@pytest.fixture
def train(sweep):
    """Adds a job with one RL stage whose metric has these values at steps 1, 2, ...; a key names the artifact."""

    def add(arm, seed, values, key=None, *, metric="rollout/format", stage="final"):
        key = key or f"{stage}-{arm}-{seed}"
        folder = sweep.cache / "rl" / key
        if not folder.exists():
            sweep.artifact("rl", key, suite=False)
            with RowWriter(folder / "rows.csv") as rows:
                for step, value in enumerate(values, start=1):
                    rows.add(step=step, metric=metric, value=value, n=8, budget=Budget(flops=step * 1e6))
        sweep.job(arm, seed, {stage: ("rl", folder)})

    return add


def rows_of(sweep):
    return load_sweep(sweep.jobs).rows


def statistics(sweep, statistic="last rollout/format", versus=""):
    found, _ = training_estimates(rows_of(sweep))
    return {one.arm: one for one in found if one.metric == statistic and one.versus == versus}


def test_intervals_over_runs_are_students():
    values = np.array([0.1, 0.4, 0.25, 0.3])
    interval = student_interval(values)
    low, high = stats.t.interval(0.95, 3, values.mean(), stats.sem(values))
    assert (interval.value, interval.low, interval.high) == pytest.approx((values.mean(), low, high), abs=1e-5)


@pytest.mark.parametrize("values", [[0.5], [0.5, math.nan]])
def test_one_run_or_an_undefined_one_has_no_interval(values):
    interval = student_interval(np.array(values))
    assert math.isnan(interval.low)
    assert math.isnan(interval.high)


def test_statistics_of_a_curve():
    found = curve_statistics(np.array([0.0, 9.0, 3.0, 5.0, 2.0, 4.0, 6.0, 8.0, 7.0, 5.0]))
    assert found["min"] == 2.0  # the two first steps do not count
    assert found["last"] == 6.0  # the two last ones do
    assert found["mean"] == 4.9
    assert found["rough"] == pytest.approx(np.std([9, -6, 2, -3, 2, 2, 2, -1, -2], ddof=1))


def test_steps_at_which_a_metric_is_undefined_do_not_count():
    assert curve_statistics(np.array([1.0, math.nan, 3.0, 4.0])) == curve_statistics(np.array([1.0, 3.0, 4.0]))


def test_a_steady_climb_is_not_rough_and_two_steps_are_too_few_to_tell():
    assert curve_statistics(np.arange(10.0))["rough"] == 0.0
    assert math.isnan(curve_statistics(np.array([1.0, 2.0]))["rough"])
    assert all(map(math.isnan, curve_statistics(np.array([])).values()))


def test_the_table_has_the_mean_over_seeds_at_each_step(sweep, train):
    train("sft", 0, [0.2, 0.4])
    train("sft", 1, [0.4, 0.8])
    table = training_table(rows_of(sweep)).set_index("step")
    assert table["value"].to_dict() == pytest.approx({1: 0.3, 2: 0.6})
    expected = student_interval(np.array([0.4, 0.8]))
    assert (table.loc[2, "low"], table.loc[2, "high"]) == pytest.approx((expected.low, expected.high))
    assert set(table["seeds"]) == {2}


def test_seeds_that_share_an_artifact_count_once(sweep, train):
    for seed in (0, 1):
        train("sft", seed, [0.2, 0.4, 0.6], key="same")
    table = training_table(rows_of(sweep))
    assert set(table["seeds"]) == {1}
    assert table["low"].isna().all()
    assert statistics(sweep)["sft"].seeds == 1


def test_a_step_at_which_one_run_has_no_value_is_a_mean_over_the_others(sweep, train):
    train("sft", 0, [0.2, math.nan, 0.4])
    train("sft", 1, [0.4, 0.5, 0.6])
    table = training_table(rows_of(sweep)).set_index("step")
    assert table.loc[2, ["value", "seeds"]].tolist() == [0.5, 1]


def test_evaluations_are_no_training_metrics(sweep):
    sweep.study("sft", 0)
    rows = rows_of(sweep)
    assert (rows["cell"] != "").any()
    assert set(training_rows(rows)["cell"]) == {""}
    assert "format" not in set(training_table(rows)["metric"])


def test_what_all_arms_share_belongs_to_none_of_them(sweep, train):
    for arm in ("sft", "dpo"):
        for seed in (0, 1):
            train(arm, seed, [0.2, 0.4, 0.6], key=f"zero{seed}", stage="zero")
    assert set(statistics(sweep)) == {"all arms"}
    assert statistics(sweep)["all arms"].seeds == 2
    assert set(training_table(rows_of(sweep))["seeds"]) == {2}


def test_what_only_some_arms_share_belongs_to_each_and_is_not_compared(sweep, train):
    for arm, key in (("sft", "one"), ("dpo", "one"), ("hybrid", "two")):
        train(arm, 0, [0.2, 0.4, 0.6], key=key)
    assert set(statistics(sweep)) == {"sft", "dpo", "hybrid"}
    assert set(statistics(sweep, versus="sft")) == {"hybrid"}


def test_differences_are_paired_by_seed(sweep, train):
    for seed, start in enumerate((0.1, 0.5, 0.9)):  # seeds differ much, arms by the same within each
        train("sft", seed, [start] * 5)
        train("dpo", seed, [start + 0.05] * 5)
    difference = statistics(sweep, versus="sft")["dpo"]
    assert (difference.value, difference.low, difference.high) == pytest.approx((0.05, 0.05, 0.05))
    assert statistics(sweep)["dpo"].low < 0


def test_arms_with_different_seeds_are_named_and_not_compared(sweep, train):
    train("sft", 0, [0.1, 0.2, 0.3])
    train("dpo", 1, [0.1, 0.2, 0.3])
    found, notes = training_estimates(rows_of(sweep))
    assert {one.versus for one in found} == {""}
    assert notes == ["dpo and sft are not compared in the training of final: different seeds"]


def test_a_run_that_is_too_short_makes_the_statistic_undefined_and_says_so(sweep, train):
    train("sft", 0, [0.1, 0.2, 0.3])
    train("sft", 1, [0.1, 0.2])
    one = statistics(sweep, "rough rollout/format")["sft"]
    assert math.isnan(one.value)
    assert one.note == "too few steps in at least one run"
    assert one.n == 2


def test_an_estimate_says_where_training_ended_and_what_it_cost(sweep, train):
    train("sft", 0, [0.1, 0.2, 0.3, 0.4])
    one = statistics(sweep)["sft"]
    assert (one.at, one.cell, one.stage, one.step, one.flops, one.n) == ("training", "", "final", 4.0, 4e6, 4)


def test_the_summary_ends_with_training_and_is_otherwise_as_it_was(sweep):
    for arm in ("sft", "dpo"):
        sweep.study(arm, 0)
    loaded = load_sweep(sweep.jobs)
    table = estimate(sweep.folder, loaded, resamples=100).table
    training = (table["at"] == "training").to_numpy()
    assert training[np.argmax(training) :].all()
    untrained = replace(loaded, rows=loaded.rows[loaded.rows["cell"] != ""])
    pd.testing.assert_frame_equal(table[~training], estimate(sweep.folder, untrained, resamples=100).table)
    assert set(table.loc[training, "stage"]) == {"cold", "final"}


def test_training_alone_makes_no_line_among_the_differences(sweep, train):
    for arm in ("sft", "dpo"):
        train(arm, 0, [0.2, 0.4, 0.6])
    summary = estimate(sweep.folder, load_sweep(sweep.jobs), resamples=100)
    assert "sft" in set(summary.table["versus"])
    assert difference_table(summary).row_count == 0


def test_a_sweep_leaves_its_training_metrics_behind(sweep):
    sweep.study("sft", 0)
    sweep.study("sft", 1)
    summarise(sweep.folder, sweep.jobs)
    written = pd.read_csv(sweep.folder / "training.csv")
    assert written.columns.tolist() == ["arm", "stage", "step", "metric", "value", "low", "high", "seeds"]
    final = select(written, stage="final", metric="rollout/reward", step=24)
    assert final["seeds"].item() == 2
    assert final["low"].item() < final["value"].item() < final["high"].item()
