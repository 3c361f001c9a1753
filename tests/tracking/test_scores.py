"""Samples become dense arrays over steps, seeds and problems."""

import json

import numpy as np
import pytest

from specs_lab.tracking.frames import load_sweep, select
from specs_lab.tracking.rows import read_samples, write_samples
from specs_lab.tracking.scores import Reading, collect, read_mixture, read_reading

READING = Reading("id", "ood", 2.0, ("other",))


def scores_of(sweep, stage, arm="sft"):
    loaded = load_sweep(sweep.jobs)
    return collect(select(loaded.samples, stage=stage), select(loaded.rows, stage=stage), arm, READING)


def test_arrays_hold_the_samples(sweep):
    for seed in (3, 1):
        sweep.study("sft", seed, steps=(0, 5))
    scores = scores_of(sweep, "cold")
    assert scores.steps.tolist() == [0, 5]
    assert scores.seed_index == {1: 0, 3: 1}
    np.testing.assert_array_equal(scores.flops, [[0, 0], [5e9, 5e9]])
    samples = read_samples(sweep.cache / "coldstart" / "cold-sft-3" / "samples.parquet")
    (expected,) = select(samples, step=5, cell="ood", task_id="ood/7").to_dict(orient="records")
    place = 1, 1, scores.tasks["ood"].index("ood/7")
    assert scores.values["ood", "format"][place] == expected["format"]
    assert scores.values["ood", "accuracy"][place] == expected["accuracy"]
    assert scores.values["ood", "joint"][place] == (expected["format"] and expected["accuracy"])


def test_a_model_that_several_seeds_share_counts_once(sweep):
    for seed in range(3):
        sweep.study("sft", seed, steps=(0, 5))
    scores = scores_of(sweep, "evaluate_base")
    assert scores.seeds == 1
    assert scores.seed_index == {0: 0, 1: 0, 2: 0}


def test_steps_and_problems_that_a_seed_lacks_are_left_out(sweep):
    sweep.study("sft", 0, steps=(0, 5, 10))
    sweep.study("sft", 1, steps=(0, 10, 20))
    path = sweep.cache / "coldstart" / "cold-sft-0" / "samples.parquet"
    samples = read_samples(path)
    write_samples(path, samples[samples["task_id"] != "ood/3"].to_dict(orient="records"))
    scores = scores_of(sweep, "cold")
    assert scores.steps.tolist() == [0, 10]
    assert len(scores.tasks["id"]) == 40
    assert "ood/3" not in scores.tasks["ood"]
    assert scores.values["ood", "joint"].shape == (2, 2, 39)


def test_no_common_step_gives_no_scores(sweep):
    sweep.study("sft", 0, steps=(0, 5))
    sweep.study("sft", 1, steps=(1, 6))
    assert scores_of(sweep, "cold") is None


def test_the_start_is_matched_by_seed_and_problem(sweep):
    for seed in (0, 1):
        sweep.study("sft", seed, steps=(0, 5))
    base, cold = scores_of(sweep, "evaluate_base"), scores_of(sweep, "cold")
    start = base.start_for(cold, "ood", "format")
    assert start.shape == (2, 40)
    np.testing.assert_array_equal(start, cold.values["ood", "format"][0])
    assert base.start_for(cold, "nowhere", "format") is None


def test_the_reading_is_what_the_manifest_records(sweep):
    assert read_reading(sweep.artifact("evaluate", "a")) == READING
    assert read_reading(sweep.artifact("rl", "b", suite=False)) is None


def test_the_reading_knows_no_alternative_where_problems_have_no_cells(sweep):
    folder = sweep.artifact("evaluate", "a")
    manifest = json.loads((folder / "manifest.json").read_text())
    del manifest["options"]["problems"]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    assert read_reading(folder) == Reading("id", "ood", 2.0, ())


@pytest.mark.parametrize("metric", ["format", "accuracy", "joint", "truncated"])
def test_scores_are_zeros_and_ones(sweep, metric):
    sweep.study("sft", 0)
    assert set(np.unique(scores_of(sweep, "cold").values["id", metric])) <= {0.0, 1.0}


def test_rl_was_trained_on_the_cells_of_the_tasks_that_it_was_given(tmp_path):
    def artifact(kind, key, **manifest):
        folder = tmp_path / kind / key
        folder.mkdir(parents=True)
        (folder / "manifest.json").write_text(json.dumps({"options": {}, "inputs": {}, **manifest}))
        return folder

    options = {"rl": {"mixture": ["id", "ood"], "buckets": ["rl"]}}
    assert read_mixture(artifact("rl", "a", options=options)) == ("id", "ood")
    tasks = [{"id": "x", "cell": "id", "bucket": "rl"}, {"id": "y", "cell": "ood", "bucket": "cold"}]
    (artifact("construct", "b") / "tasks.json").write_text(json.dumps({"tasks": tasks}))
    assert read_mixture(artifact("rl", "c", options=options, inputs={"tasks": "b"})) == ("id",)
