"""A sweep is summarised as a whole: files, numbers, terminal."""

import io
import json
import math
import subprocess
import sys

import pandas as pd
import pytest
from rich.console import Console

from specs_lab.metrics.generalization_factor import generalization_factor
from specs_lab.tracking.frames import load_sweep, select
from specs_lab.tracking.report import estimate, print_summary, summarise
from specs_lab.tracking.tables import difference_table, factor_table, results_table


def text_of(summary, width=160):
    console = Console(width=width, file=io.StringIO())
    print_summary(console, summary)
    return console.file.getvalue()


@pytest.fixture
def three_arms(sweep):
    for arm in ("sft", "dpo", "hybrid"):
        for seed in range(2):
            sweep.study(arm, seed)
    return sweep


def test_writes_every_file_and_finds_the_order_of_the_arms(three_arms):
    summary = summarise(three_arms.folder, three_arms.jobs)
    written = {path.name for path in three_arms.folder.iterdir() if path.is_file()}
    tables, figures = {"summary.csv", "summary.json", "training.csv"}, ("curves", "rl", "training")
    assert written == tables | {f"{name}.{suffix}" for name in figures for suffix in ("png", "svg")}
    factors = select(summary.table, at="equal steps", metric="gf_format_raw", versus="")
    assert factors.sort_values("value")["arm"].tolist() == ["sft", "dpo", "hybrid"]


def test_every_estimate_lies_in_its_interval_or_says_why_not(three_arms):
    table = estimate(three_arms.folder, load_sweep(three_arms.jobs), resamples=200).table
    assert len(table) > 300
    defined = table.dropna(subset=["value", "low", "high"])
    assert (defined["low"] <= defined["high"]).all()
    assert (defined["value"].between(defined["low"] - 0.02, defined["high"] + 0.02)).all()
    assert (table.loc[table["value"].isna(), "note"] != "").all()
    assert (table["seeds"] >= 1).all()
    assert (table.loc[table["at"] != "training", "n"] == 40).all()


def test_json_and_csv_say_the_same(three_arms):
    summary = summarise(three_arms.folder, three_arms.jobs)
    record = json.loads((three_arms.folder / "summary.json").read_text())
    from_json = pd.DataFrame(record["estimates"])
    from_csv = pd.read_csv(three_arms.folder / "summary.csv", keep_default_na=False, na_values={"value": [""]})
    assert len(from_json) == len(from_csv) == len(summary.table)
    assert from_json["metric"].tolist() == from_csv["metric"].tolist()
    assert from_json["value"].astype(float).tolist() == pytest.approx(from_csv["value"].tolist(), nan_ok=True)
    assert record["equal_steps"] == [30]
    assert record["equal_compute_flops"] == 3e10
    assert record["readings"]["sft"]["id"] == "id"


def test_values_are_the_means_of_the_samples(three_arms):
    sweep = load_sweep(three_arms.jobs)
    summary = estimate(three_arms.folder, sweep, resamples=100)
    cold = select(sweep.samples, arm="dpo", stage="cold", step=30)
    means = cold.groupby("cell")["format"].mean()
    found = select(summary.table, arm="dpo", stage="cold", at="equal steps", versus="")
    assert select(found, metric="format", cell="ood")["value"].item() == pytest.approx(means["ood"])
    expected = generalization_factor(means["id"], means["ood"])
    assert select(found, metric="gf_format_raw")["value"].item() == pytest.approx(expected)


def test_equal_compute_gives_the_cheaper_method_its_full_length(three_arms):
    table = estimate(three_arms.folder, load_sweep(three_arms.jobs), resamples=100).table
    at = {
        arm: select(table, arm=arm, at="equal compute", metric="format", cell="ood", versus="")["value"].item()
        for arm in ("sft", "dpo")
    }
    ends = select(table, at="last step", metric="format", cell="ood", versus="").set_index("arm")["value"]
    curve = select(table, at="curve", metric="format", cell="ood", versus="", arm="dpo").set_index("step")["value"]
    assert at["sft"] == ends["sft"]
    assert at["dpo"] == pytest.approx((curve[10] + curve[20]) / 2)


def test_the_base_and_zero_models_are_reported_once(three_arms):
    table = estimate(three_arms.folder, load_sweep(three_arms.jobs), resamples=100).table
    base = select(table, stage="evaluate_base", metric="joint", cell="id")
    assert base[["arm", "seeds"]].to_numpy().tolist() == [["all arms", 1]]
    zero = select(table, stage="evaluate_zero", metric="joint", cell="id")
    assert zero[["arm", "seeds"]].to_numpy().tolist() == [["all arms", 2]]


def test_gains_start_at_zero(three_arms):
    table = estimate(three_arms.folder, load_sweep(three_arms.jobs), resamples=100).table
    start = select(table, at="curve", step=0.0, metric=["gain_format", "gain_joint", "gf_joint_gain"])
    assert len(start) == 3 * (3 + 3 + 1)
    assert (start[["value", "low", "high"]] == 0).all(axis=None)


def test_a_negative_gain_is_named_in_the_terminal(sweep):
    sweep.shared(0)
    stages = sweep.shared(0)
    worse = sweep.measured("coldstart", "worse", lambda cell, step: 0.5 if cell == "id" else 0.0, (0, 10), 1e9)
    sweep.job("sft", 0, {**stages, "cold": ("coldstart", worse)})
    summary = estimate(sweep.folder, load_sweep(sweep.jobs), resamples=100)
    gain = select(summary.table, metric="gain_format", cell="ood", at="equal steps")["value"].item()
    assert gain < 0
    assert f"gf_format_gain of sft at step 10 is undefined: OOD is negative ({gain:+.4g})" in text_of(summary)


def test_the_terminal_names_arms_references_failures_and_what_gf_is_of(three_arms):
    three_arms.job("hybrid", 2, {}, error="cold: RuntimeError: [bold]out of memory")
    text = text_of(summarise(three_arms.folder, three_arms.jobs))
    for wanted in ("sft", "dpo", "hybrid", "zero", "base", "GF raw", "gain", "equal compute", "step 30", "beta = 2"):
        assert wanted in text
    assert "job 6 failed: cold: RuntimeError: [bold]out of memory" in text
    assert "1 of 7 jobs failed" in text
    assert "few seeds make wide intervals: sft (2), dpo (2), hybrid (2)" in text


def test_tables_show_every_step_that_was_asked_for(three_arms):
    summary = estimate(three_arms.folder, load_sweep(three_arms.jobs), steps=[30, 10, 30], resamples=100)
    factors, differences = factor_table(summary), difference_table(summary)
    ats = list(factors.columns[1].cells)
    assert ats == ["step 10", "step 30", "equal compute"] * 3
    assert "Cold starts at step 30." in results_table(summary).caption
    heads = [column.header for column in differences.columns]
    for step in (10, 30):
        shown = select(summary.table, arm="hybrid", at="equal steps", step=step, metric="gf_joint_raw")
        row = 6 + ats.index(f"step {step}")
        value = 100 * select(shown, versus="")["value"].item()
        assert f"]{value:.1f}[" in list(factors.columns[4].cells)[row]
        right = select(
            summary.table, arm="hybrid", at="equal steps", step=step, metric="accuracy", cell="ood", versus=""
        )
        assert f"]{100 * right['value'].item():.1f}[" in list(factors.columns[7].cells)[row]
        value = 100 * select(shown, versus="sft")["value"].item()
        column = differences.columns[heads.index(f"GF raw joint\nstep {step}")]
        assert f"]{value:+.1f}[" in list(column.cells)[1]


def test_captions_explain_the_lines_that_are_there(sweep):
    cold = sweep.measured("coldstart", "cold", lambda cell, step: 0.5, (0, 10), 1e9)
    sweep.job("sft", 0, {"cold": ("coldstart", cold)})
    caption = results_table(estimate(sweep.folder, load_sweep(sweep.jobs), resamples=100)).caption
    assert "base:" not in caption
    assert "zero:" not in caption
    sweep.study("dpo", 0)
    caption = results_table(estimate(sweep.folder, load_sweep(sweep.jobs), resamples=100)).caption
    assert "base:" in caption
    assert "zero:" in caption


def test_one_seed_is_no_evidence_about_methods(sweep):
    sweep.study("sft", 0)
    sweep.study("dpo", 0)
    caption = difference_table(estimate(sweep.folder, load_sweep(sweep.jobs), resamples=100)).caption
    assert "not about their methods" in caption


def test_zero_is_not_set_beside_the_arms_after_rl(three_arms):
    table = results_table(estimate(three_arms.folder, load_sweep(three_arms.jobs), resamples=100))
    row = list(table.columns[0].cells).index("[italic]zero[/]")
    assert all("to" in list(column.cells)[row] for column in table.columns[1:6])
    assert all("to" not in list(column.cells)[row] for column in table.columns[6:])


@pytest.mark.parametrize("width", [60, 80, 100])
def test_narrow_terminals_lose_no_digits(three_arms, width):
    text = text_of(estimate(three_arms.folder, load_sweep(three_arms.jobs), resamples=100), width)
    assert "…" not in text
    assert max(map(len, text.splitlines()[:20])) <= width


def test_a_line_says_how_many_seeds_its_estimates_are_of(sweep):
    sweep.study("sft", 0)
    sweep.study("sft", 1)
    stages = sweep.shared(2)
    cold = sweep.measured("coldstart", "cold-sft-2", lambda cell, step: 0.5, (0, 30), 1e9)
    sweep.job("sft", 2, {**stages, "cold": ("coldstart", cold)}, error="final: RuntimeError: boom")
    sweep.job("sft", 3, sweep.shared(3), error="cold: RuntimeError: boom")
    text = text_of(estimate(sweep.folder, load_sweep(sweep.jobs), resamples=100))
    assert "3 seeds" in text
    assert "(RL: 2)" in text
    assert "4 seeds" not in text


def test_what_the_final_rl_was_trained_on_is_said(sweep):
    sweep.study("sft", 0)
    same = results_table(estimate(sweep.folder, load_sweep(sweep.jobs), resamples=100)).caption
    sweep.mixture = ("id",)
    sweep.study("dpo", 0)
    summary = estimate(sweep.folder, load_sweep(sweep.jobs), resamples=100)
    untouched = ", so that OOD after RL is not untouched by training."
    assert same.endswith(f"Final RL was trained on cells id, ood (training problems){untouched}")
    assert "trained on cells id, ood (sft); id (dpo) (training problems)" in results_table(summary).caption
    assert summary.as_json()["rl_cells"] == {"sft": ["id", "ood"], "dpo": ["id"]}


def test_rl_that_saw_no_ood_prompt_leaves_ood_untouched(sweep):
    sweep.mixture = ("id",)
    sweep.study("sft", 0)
    caption = results_table(estimate(sweep.folder, load_sweep(sweep.jobs), resamples=100)).caption
    assert caption.endswith("Final RL was trained on cells id (training problems).")


def test_arms_with_different_seeds_are_named_and_not_compared(sweep):
    for arm, seed in (("sft", 0), ("sft", 1), ("dpo", 0)):
        sweep.study(arm, seed)
    summary = estimate(sweep.folder, load_sweep(sweep.jobs), resamples=100)
    assert "dpo and sft are not compared in cold, evaluate_final: different seeds" in summary.notes
    assert set(summary.table["versus"]) == {""}


def test_the_captions_say_how_sure_a_reader_can_be(three_arms):
    text = " ".join(text_of(summarise(three_arms.folder, three_arms.jobs)).split())
    assert "Student's t over seeds" in text
    assert "many comparisons are made, and none is corrected for" in text
    assert "jackknife" in json.loads((three_arms.folder / "summary.json").read_text())["interval"]


@pytest.mark.parametrize("made", [256, 200])
def test_missing_pairs_are_said_once(sweep, made):
    folder = sweep.artifact("construct", "pairs", suite=False)
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**manifest, "options": {"data": {"pairs": 256}}}))
    (folder / "card.json").write_text(json.dumps({"pairs": made, "prompts": 999}))
    for arm in ("sft", "dpo"):
        sweep.job(arm, 0, {"pairs": ("construct", folder)})
    text = text_of(estimate(sweep.folder, load_sweep(sweep.jobs), resamples=100))
    assert text.count("sft, dpo, seed 0: only 200 of 256 pairs could be made") == (made == 200)


def test_an_arm_without_cold_start_has_results_after_rl_only(sweep):
    sweep.study("none", 0)
    sweep.study("sft", 0)
    summary = summarise(sweep.folder, sweep.jobs)
    after = select(summary.table, arm="none", stage="evaluate_final", metric="joint", cell="ood", versus="")
    assert len(after) == 1
    assert results_table(summary).row_count == 4
    assert set(select(summary.table, versus="none")["stage"]) == {"evaluate_final", "final"}  # and RL itself


def test_only_arms_without_cold_start_make_no_curve(sweep):
    sweep.study("none", 0)
    summarise(sweep.folder, sweep.jobs)
    assert not (sweep.folder / "curves.png").exists()
    assert (sweep.folder / "rl.png").exists()


def test_a_sweep_in_which_everything_failed_is_still_reported(sweep):
    sweep.job("sft", 0, {}, error="boom")
    summary = summarise(sweep.folder, sweep.jobs)
    assert summary.table.empty
    assert "1 of 1 jobs failed" in text_of(summary)
    assert json.loads((sweep.folder / "summary.json").read_text())["estimates"] == []


def test_arms_with_base_models_of_their_own_keep_them_apart(sweep):
    sweep.study("sft", 0)
    other = sweep.measured("evaluate", "base-large", lambda cell, _: 0.6)
    final = sweep.measured("evaluate", "final-large", lambda cell, _: 0.9)
    sweep.job("large", 0, {"evaluate_base": ("evaluate", other), "evaluate_final": ("evaluate", final)})
    summary = estimate(sweep.folder, load_sweep(sweep.jobs), resamples=100)
    base = select(summary.table, stage="evaluate_base", metric="format", cell="id", versus="")
    assert set(base["arm"]) == {"sft", "large"}
    assert "base · large" in text_of(summary)
    gain = select(summary.table, arm="large", stage="evaluate_final", metric="gain_format", cell="id", versus="")
    own = select(base, arm="large")["value"].item()
    after = select(summary.table, arm="large", stage="evaluate_final", metric="format", cell="id", versus="")
    assert math.isclose(gain["value"].item(), after["value"].item() - own)


def test_the_same_sweep_gives_the_same_bytes(three_arms):
    kept = {}
    for _ in range(2):
        summarise(three_arms.folder, three_arms.jobs)
        files = {path.name: path.read_bytes() for path in three_arms.folder.iterdir() if path.is_file()}
        assert kept in ({}, files)
        kept = files


def test_importing_the_report_needs_neither_torch_nor_matplotlib():
    code = "import sys, specs_lab.tracking.report; print([m for m in ('torch', 'matplotlib') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
