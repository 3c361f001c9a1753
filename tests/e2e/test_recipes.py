"""Every recipe and every construction to its end, shrunken."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import specs_lab.conf
from datasets import load_dataset

from specs_lab.cli.composition import composer
from specs_lab.cli.values import study_of
from specs_lab.core.errors import UserError
from specs_lab.core.progress import Progress
from specs_lab.data.records import read_pairs
from specs_lab.rewards.format import follows
from specs_lab.stages.study import JobInfo, execute
from specs_lab.tracking.rows import read_rows

pytestmark = pytest.mark.e2e
CONF = Path(str(specs_lab.conf.__file__)).parent
RECIPES = sorted(path.stem for path in CONF.glob("recipe/*.yaml") if path.stem != "pretrain")
CONSTRUCTIONS = sorted(path.stem for path in CONF.glob("data/*.yaml") if path.stem != "file")


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def jobs(tmp_path_factory, cache):
    """The records of a sweep over all recipes, by recipe."""
    folder = tmp_path_factory.mktemp("recipes")
    command = ("-m", f"recipe={','.join(RECIPES)}", "experiment=smoke", "logger=none", "hydra.sweep.dir=sweep")
    done = subprocess.run(
        [sys.executable, "-m", "specs_lab.run", *command],
        cwd=folder,
        env={**os.environ, "SPECS_LAB_CACHE": str(cache)},
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    records = [json.loads(path.read_text()) for path in sorted((folder / "sweep").glob("*/job.json"))]
    return {record["arm"]: record for record in records}


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_recipe_ends_with_results(jobs, recipe):
    record = jobs[recipe]
    assert record["status"] == "completed"
    results = [stage for stage in record["stages"].values() if stage["kind"] in ("evaluate", "explore", "coldstart")]
    assert results
    for stage in results:
        rows = read_rows(Path(stage["folder"]) / "rows.csv")
        assert rows["value"].notna().any()


def test_rounds_start_from_the_base_model_and_learn_from_the_round_before(jobs):
    stages = jobs["openvlthinker"]["stages"]
    manifests = {
        name: json.loads((Path(stage["folder"]) / "manifest.json").read_text()) for name, stage in stages.items()
    }
    for number in ("_1", "_2", ""):
        assert manifests[f"cold{number}"]["inputs"]["model"] == stages["base"]["key"]
        assert manifests[f"cold{number}"]["inputs"]["data"] == stages[f"pairs{number}"]["key"]
        assert manifests[f"final{number}"]["inputs"]["tasks"] == stages["levels"]["key"]
    asked = [manifests[f"pairs{number}"]["inputs"]["self"] for number in ("_1", "_2", "")]
    assert asked == [stages["base"]["key"], stages["final_1"]["key"], stages["final_2"]["key"]]
    assert manifests["final_1"]["options"]["rl"]["buckets"] == ["easy", "medium"]
    assert manifests["final"]["options"]["rl"]["buckets"] == ["medium", "hard"]


def test_stages_that_recipes_have_in_common_are_made_once(jobs):
    assert len({record["stages"]["base"]["key"] for record in jobs.values()}) == 1
    gold = {jobs[name]["stages"]["cold"]["key"] for name in ("rlsp", "d1_inner_updates")}
    assert len(gold) == 1


@pytest.fixture(scope="module")
def known():
    with composer() as made:
        yield made


def _construct(known, cache, folder, *overrides):
    cfg = known.compose(["recipe=cold_only", "experiment=smoke", "logger=none", f"paths.cache={cache}", *overrides])
    study = study_of(cfg)
    study.recipe.stages = {name: spec for name, spec in study.recipe.stages.items() if name != "cold"}
    return execute(study, JobInfo(folder=folder), Progress()).stages["pairs"].folder


@pytest.mark.parametrize("data", CONSTRUCTIONS)
def test_every_construction_writes_pairs_and_a_card(known, cache, tmp_path, data):
    folder = _construct(known, cache, tmp_path, f"data={data}", "data.pairs=4")
    pairs = read_pairs(folder / "pairs.parquet")
    assert 0 < len(pairs) <= 4
    for pair in pairs:
        assert follows(pair.chosen, "think_answer")
        assert pair.images
        assert pair.rejected is None or not follows(pair.rejected, "think_answer")
    assert load_dataset("parquet", data_files=str(folder / "pairs.parquet"), split="train", cache_dir=tmp_path).num_rows
    card = json.loads((folder / "card.json").read_text())
    assert card["pairs"] == len(pairs)
    for name in ("README.md", "card.png", "samples.png", "tasks.json"):
        assert (folder / name).stat().st_size


def test_pairs_of_a_study_serve_as_a_file_of_ones_own(known, cache, tmp_path):
    first = _construct(known, cache, tmp_path / "first", "data=gold", "data.pairs=4")
    again = _construct(known, cache, tmp_path / "again", "data=file", f"data.path={first / 'pairs.parquet'}")
    assert [(p.prompt, p.chosen, p.rejected) for p in read_pairs(again / "pairs.parquet")] == [
        (p.prompt, p.chosen, p.rejected) for p in read_pairs(first / "pairs.parquet")
    ]


def test_a_loss_on_pairs_is_refused_data_without_rejected_sides(known, cache):
    cfg = known.compose(["recipe=cold_only", "experiment=smoke", "data=rejection_sampling", "coldstart=dpo"])
    with pytest.raises(UserError, match="no rejected one"):
        execute(study_of(cfg), JobInfo(folder=cache / "never"), Progress())
