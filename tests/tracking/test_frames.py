"""A sweep's folders become tidy tables."""

import pytest

from specs_lab.core.errors import UserError
from specs_lab.tracking.frames import find_jobs, load_sweep, select


def test_shared_artifacts_appear_for_each_job(sweep):
    sweep.study("sft", 0)
    sweep.study("dpo", 0)
    loaded = load_sweep(sweep.jobs)
    base = select(loaded.samples, stage="evaluate_base")
    assert base.groupby("arm").size().to_dict() == {"sft": 120, "dpo": 120}
    assert base["key"].nunique() == 1
    assert loaded.arms == ["sft", "dpo"]
    assert len(loaded.stages) == 2 * 5


def test_rows_are_tagged_with_their_job_and_keep_their_budget(sweep):
    folder = sweep.study("dpo", 2, steps=(0, 5))
    rows = select(load_sweep([folder]).rows, stage="cold", metric="train/loss", step=5)
    (row,) = rows.to_dict(orient="records")
    assert (row["job"], row["arm"], row["seed"], row["kind"], row["cell"]) == ("0", "dpo", 2, "coldstart", "")
    assert (row["value"], row["n"], row["tokens"], row["flops"]) == (1 / 6, 16, 500, 1e10)


def test_failed_and_killed_jobs_are_told_apart_from_finished_ones(sweep):
    sweep.study("sft", 0)
    sweep.job("sft", 1, sweep.shared(1), error="cold: RuntimeError: boom")
    killed = sweep.folder / "7_killed"
    killed.mkdir()
    loaded = load_sweep([*sweep.jobs, killed])
    assert [job.error for job in loaded.failed] == [
        "cold: RuntimeError: boom",
        "it was killed, or still runs: there is no job.json",
    ]
    assert set(select(loaded.stages, seed=1)["stage"]) == {"evaluate_base", "evaluate_zero"}


def test_jobs_are_found_in_the_order_of_their_numbers(sweep):
    for seed in range(11):
        sweep.job("sft", seed, {})
    assert [path.name for path in find_jobs(sweep.folder)] == [str(i) for i in range(11)]


@pytest.mark.parametrize("trace", ["job.log", ".hydra/config.yaml"])
def test_killed_jobs_are_found_by_what_they_left_behind(sweep, trace):
    finished, killed = sweep.job("sft", 0, {}), sweep.folder / "1"
    for folder in (finished, killed):
        (folder / trace).parent.mkdir(parents=True, exist_ok=True)
        (folder / trace).write_text("")
    (sweep.folder / "notes").mkdir()
    assert find_jobs(sweep.folder) == [finished, killed]
    assert [job.name for job in load_sweep(find_jobs(sweep.folder)).failed] == ["1"]


def test_all_missing_artifacts_are_reported_together(sweep):
    gone = sweep.cache / "rl" / "gone"
    sweep.job("sft", 0, {"final": ("rl", gone), "zero": ("rl", gone)})
    with pytest.raises(UserError, match="2 problems") as caught:
        load_sweep(sweep.jobs)
    assert [fault.where for fault in caught.value.faults] == ["0: stage final", "0: stage zero"]


@pytest.mark.parametrize("text", ["{", "[]", '{"arm": "sft"}'])
def test_a_broken_record_is_a_user_error(sweep, text):
    folder = sweep.job("sft", 0, {})
    (folder / "job.json").write_text(text)
    with pytest.raises(UserError, match="cannot be understood"):
        load_sweep([folder])


def test_a_sweep_without_results_has_empty_tables_with_columns(sweep):
    sweep.job("sft", 0, {}, error="boom")
    loaded = load_sweep(sweep.jobs)
    assert loaded.rows.empty
    assert {"arm", "cell", "metric", "value", "flops"} <= set(loaded.rows.columns)
    assert select(loaded.samples, stage="cold").empty
