"""Measures of many responses become estimates, differences, crossings and a figure."""

import io
import json
import math

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from rich.console import Console

from specs_lab.tracking.exploration import collect_measures, estimate_exploration
from specs_lab.tracking.exploration_figures import draw_passk
from specs_lab.tracking.frames import load_sweep, select
from specs_lab.tracking.report import estimate, print_summary, summarise
from specs_lab.tracking.rows import MEASURE_COLUMNS, read_measures, write_measures
from specs_lab.tracking.tables import all_tables


def rising(start, slope):
    return lambda k: start + slope * math.log2(k)


BASE = {"id": rising(0.3, 0.15), "ood": rising(0.2, 0.1)}
SHARP = {"id": rising(0.5, 0.07), "ood": rising(0.4, 0.1)}  # ahead at k = 1; behind from k = 8 on, in id only
BROAD = {"id": rising(0.4, 0.15), "ood": rising(0.3, 0.1)}


@pytest.fixture
def two_arms(sweep):
    base = sweep.explored("base", BASE)
    for seed in range(3):
        for arm, curves in (("sharp", SHARP), ("broad", BROAD)):
            final = sweep.explored(f"{arm}{seed}", curves)
            sweep.job(arm, seed, {"explore_base": ("explore", base), "explore_final": ("explore", final)})
    return sweep


@pytest.fixture
def table(two_arms):
    return estimate(two_arms.folder, load_sweep(two_arms.jobs), resamples=200).table


def one(table, **where):
    (row,) = select(table, **{"versus": "", "at": "evaluation", **where}).to_dict(orient="records")
    return row


def test_measures_survive_being_written_and_read(tmp_path):
    measures = [
        {"step": 0, "cell": "id", "task_id": "a", "metric": "pass@1", "value": 0.5},
        {"step": 0, "cell": "id", "task_id": "a", "metric": "reflections wrong", "value": math.nan},
    ]
    write_measures(tmp_path / "measures.parquet", measures)
    frame = read_measures(tmp_path / "measures.parquet")
    pd.testing.assert_frame_equal(frame, pd.DataFrame(measures, columns=list(MEASURE_COLUMNS)))


def test_arrays_hold_the_measures_and_a_shared_model_counts_once(two_arms):
    measures = load_sweep(two_arms.jobs).measures
    final = collect_measures(select(measures, stage="explore_final", arm="sharp"), "sharp")
    written = read_measures(two_arms.cache / "explore" / "sharp2" / "measures.parquet")
    values = select(written, cell="ood", task_id="ood/7", metric="pass@4")["value"].tolist()
    assert final.values["ood", "pass@4"][0, 2, final.tasks["ood"].index("ood/7")] == values[0]
    assert final.values["id", "rbf"].shape == (1, 3, 40)
    base = collect_measures(select(measures, stage="explore_base"), "all arms")
    assert (base.seeds, base.seed_index) == (1, {0: 0, 1: 0, 2: 0})


def test_estimates_are_the_means_of_the_measures(two_arms, table):
    folders = [two_arms.cache / "explore" / f"broad{seed}" / "measures.parquet" for seed in range(3)]
    frames = pd.concat([read_measures(path) for path in folders])
    for metric in ("pass@8", "rbf", "length"):
        row = one(table, arm="broad", stage="explore_final", cell="id", metric=metric)
        assert row["value"] == pytest.approx(select(frames, cell="id", metric=metric)["value"].mean())
        assert row["low"] <= row["value"] <= row["high"]
        assert (row["n"], row["seeds"]) == (40, 3)


def test_amounts_are_not_clipped_to_shares(table):
    row = one(table, arm="broad", stage="explore_final", cell="id", metric="length")
    assert 29 < row["low"] < row["high"] < 31


def test_problems_without_a_value_for_every_seed_are_left_out(two_arms, table):
    folders = [two_arms.cache / "explore" / f"broad{seed}" / "measures.parquet" for seed in range(3)]
    values = np.array(
        [select(read_measures(path), cell="id", metric="reflections correct")["value"].to_numpy() for path in folders]
    )
    whole = values[:, ~np.isnan(values).any(axis=0)]
    row = one(table, arm="broad", stage="explore_final", cell="id", metric="reflections correct")
    assert 0 < row["n"] == whole.shape[1] < 40
    assert row["value"] == pytest.approx(whole.mean())
    both = one(table, arm="broad", stage="explore_final", cell="id", metric="reflections correct", versus="sharp")
    assert both["n"] < row["n"]
    assert abs(both["value"]) < 0.05


def test_a_measure_that_no_problem_has_says_so(sweep):
    folder = sweep.explored("empty", BASE)
    measures = read_measures(folder / "measures.parquet")
    measures.loc[measures["metric"] == "reflections correct", "value"] = math.nan
    write_measures(folder / "measures.parquet", measures.to_dict(orient="records"))
    sweep.job("sharp", 0, {"explore_final": ("explore", folder)})
    table = estimate(sweep.folder, load_sweep(sweep.jobs), resamples=100).table
    row = one(table, arm="sharp", cell="id", metric="reflections correct")
    assert math.isnan(row["value"])
    assert (row["n"], row["note"]) == (0, "no problem has a value for every seed")


def test_the_base_model_is_reported_once_and_gains_are_paired_with_it(table):
    base = select(table, stage="explore_base", metric="pass@1", cell="id")
    assert base[["arm", "seeds"]].to_numpy().tolist() == [["all arms", 1]]
    gain = one(table, arm="sharp", stage="explore_final", cell="id", metric="gain_pass@1")
    after = one(table, arm="sharp", stage="explore_final", cell="id", metric="pass@1")
    assert gain["value"] == pytest.approx(after["value"] - base["value"].item())
    assert gain["high"] - gain["low"] < after["high"] - after["low"]  # what makes problems differ is gone


def test_differences_between_arms_are_paired(table):
    row = one(table, arm="broad", versus="sharp", stage="explore_final", cell="id", metric="pass@8")
    arms = [one(table, arm=arm, stage="explore_final", cell="id", metric="pass@8") for arm in ("broad", "sharp")]
    assert row["value"] == pytest.approx(arms[0]["value"] - arms[1]["value"])
    assert row["low"] > 0
    assert row["high"] - row["low"] < arms[0]["high"] - arms[0]["low"]


def test_crossings_name_the_k_and_what_the_difference_is_at_both_ends(two_arms):
    summary = summarise(two_arms.folder, two_arms.jobs)
    record = json.loads((two_arms.folder / "summary.json").read_text())
    assert len(record["crossings"]) == len(summary.crossings) == 2 * 2 * 3
    found = {(c["arm"], c["versus_stage"], c["cell"]): c for c in record["crossings"] if c["metric"] == "joint pass@"}
    crossed = found["sharp", "explore_base", "id"]
    assert crossed["k"] == 8
    assert crossed["first"]["k"] == 1
    assert crossed["first"]["low"] > 0
    assert crossed["last"]["k"] == 8
    assert crossed["last"]["high"] < 0
    assert found["sharp", "explore_base", "ood"]["k"] is None
    between = found["broad", "explore_final", "id"]  # sharp is ahead at k = 1 only
    assert (between["versus"], between["k"]) == ("sharp", 4)


def test_other_problems_and_other_seeds_are_not_compared(sweep):
    sweep.job("sharp", 0, {"explore_final": ("explore", sweep.explored("a", SHARP))})
    sweep.job("broad", 1, {"explore_final": ("explore", sweep.explored("b", BROAD))})
    sweep.n = 20
    sweep.job("small", 0, {"explore_final": ("explore", sweep.explored("c", BROAD))})
    found = estimate_exploration(load_sweep(sweep.jobs), resamples=50)
    assert found.notes == (
        "broad and sharp are not compared in explore_final: different seeds",
        "small and sharp are not compared in explore_final: different problems",
        "small and broad are not compared in explore_final: different seeds",
    )
    assert {one.versus for one in found.estimates} == {""}


def test_nothing_else_in_the_summary_changes(sweep):
    for arm in ("sft", "dpo"):
        sweep.study(arm, 0)
    before = estimate(sweep.folder, load_sweep(sweep.jobs), resamples=100).table
    for folder, curves in zip(sweep.jobs, (SHARP, BROAD), strict=True):
        record = json.loads((folder / "job.json").read_text())
        path = sweep.explored(f"more-{folder.name}", curves)
        made = {"kind": "explore", "key": path.name, "folder": str(path), "cached": False, "seconds": 1.0}
        (folder / "job.json").write_text(json.dumps({**record, "stages": {**record["stages"], "explore_final": made}}))
    after = estimate(sweep.folder, load_sweep(sweep.jobs), resamples=100).table
    rest = after[after["stage"] != "explore_final"].reset_index(drop=True)
    assert len(rest) < len(after)
    pd.testing.assert_frame_equal(rest, before)


def test_a_sweep_that_only_explores_is_reported(two_arms):
    summary = summarise(two_arms.folder, two_arms.jobs)
    assert {"passk.png", "passk.svg", "summary.csv"} <= {path.name for path in two_arms.folder.iterdir()}
    console = Console(width=140, file=io.StringIO())
    print_summary(console, summary)
    (table,) = all_tables(summary)
    assert table.row_count == 2 * (1 + 2)
    row = one(summary.table, arm="sharp", stage="explore_final", cell="id", metric="pass@8")
    assert f"]{100 * row['value']:.1f}[" in list(table.columns[4].cells)[2]
    row = one(summary.table, arm="sharp", stage="explore_final", cell="id", metric="rbf")
    assert f"]{row['value']:.2f}[" in list(table.columns[6].cells)[2]
    for wanted in ("Exploration", "pass@8", "rbf", "final", "all arms"):
        assert wanted in console.file.getvalue()


def test_the_figure_repeats_exactly_and_is_only_drawn_of_something(two_arms, tmp_path):
    summary = estimate(two_arms.folder, load_sweep(two_arms.jobs), resamples=100)
    first, second = (draw_passk(summary.table, summary.crossings, tmp_path / name) for name in ("a", "b"))
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]
    with Image.open(first[0]) as image:
        assert image.width >= 1200
    without, _ = draw_passk(summary.table, (), tmp_path / "c")
    assert without.read_bytes() != first[0].read_bytes()  # the ring and its caption are gone
    assert draw_passk(select(summary.table, metric="rbf"), (), tmp_path / "d") == []
