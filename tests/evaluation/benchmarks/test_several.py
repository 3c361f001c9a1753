"""Several benchmarks as one suite: each is asked, scored and summed up as it would be alone."""

import json

import pytest

from specs_lab.cli.composition import composer
from specs_lab.cli.values import study_of, value_faults
from specs_lab.core.options import InvalidOption
from specs_lab.core.progress import Progress
from specs_lab.evaluation.suites.several import SeveralSuites
from specs_lab.problems.sources.procedural import ProceduralProblems
from specs_lab.problems.tasks import Cell
from specs_lab.rescore import main as rescore
from specs_lab.stages.context import JobInfo
from specs_lab.stages.options.recipe import StageSpec
from specs_lab.stages.study import execute
from specs_lab.tracking.rows import read_rows, read_samples

PROBLEMS = ProceduralProblems(families=["count"], instructions=["tags"], styles=["plain"], cells={"id": Cell()})
NAMES = ("mathvista", "mathvision")


@pytest.fixture
def folders(write_benchmark, benchmark_rows):
    return {name: write_benchmark(name, benchmark_rows["rows"][name]) for name in NAMES}


@pytest.fixture
def suite(make_suite, benchmark_rows):
    parts = {name: make_suite(name, benchmark_rows["rows"][name], temperature=0.7) for name in NAMES}
    return SeveralSuites(parts=parts, n=2, max_new_tokens=99)


def test_tasks_are_those_of_the_parts_behind_the_held_out_ones(suite):
    tasks = suite.tasks(PROBLEMS)
    assert [task.cell for task in tasks[:2]] == ["id", "id"]
    alone = [task for part in suite.parts.values() for task in part.tasks(PROBLEMS)]
    assert [task.id for task in tasks[2:]] == [task.id for task in alone]
    assert {task.cell for task in alone} == set(NAMES)
    assert [task.cell for task in suite.graded(tasks)] == ["id", "id"]
    assert (suite.cells, suite.gf_id, suite.gf_ood) == (["id", *NAMES], "id", "mathvista")


def test_sampling_is_the_suite_s_own(suite):
    assert {(part.temperature, part.max_new_tokens, part.with_id) for part in suite.parts.values()} == {
        (0.0, 99, False)
    }


def test_every_response_is_scored_by_its_benchmark(suite):
    tasks = suite.tasks(PROBLEMS)
    right = [f"<think> so </think> <answer> {task.problem.answer} </answer>" for task in tasks]
    mixed = [text if i % 2 else "<think> no </think> <answer> none of it </answer>" for i, text in enumerate(right)]
    found = suite.score(mixed, tasks, None)
    assert [score.accuracy for score in found] == [bool(i % 2) for i in range(len(tasks))]
    for part in suite.parts.values():
        own = [i for i, task in enumerate(tasks) if task.cell == part.benchmark]
        assert [found[i] for i in own] == list(part.score([mixed[i] for i in own], [tasks[i] for i in own], None))


def test_a_stage_measures_all_and_can_be_scored_again(folders, tmp_path):
    overrides = ["model=tiny", "suite=specs_five", "suite.n=2", "suite.max_new_tokens=8", "logger=none"]
    left_out = [f"~suite.parts.{name}" for name in ("mega_bench", "mmmu", "mathverse")]
    paths = [f"suite.parts.{name}.path={folder}" for name, folder in folders.items()]
    with composer() as known:
        cfg = known.compose([*overrides, *left_out, *paths, "suite.parts.mathvision.split=testmini"])
        assert value_faults(cfg) == []
        study = study_of(cfg)
    stages = {"base": {"kind": "base"}, "evaluate_final": {"kind": "evaluate", "inputs": {"model": "base"}}}
    study.recipe.stages = {name: StageSpec(**spec) for name, spec in stages.items()}
    job = JobInfo(folder=tmp_path / "job")
    folder = execute(study, job, Progress()).stages["evaluate_final"].folder
    told = json.loads((folder / "benchmark.json").read_text())
    assert set(told) == set(NAMES)
    rows = read_rows(folder / "rows.csv").set_index(["cell", "metric"])
    for name in NAMES:
        assert rows.loc[(name, "accuracy"), "n"] == told[name]["used"] > 0
    samples = read_samples(folder / "samples.parquet")
    assert set(samples["cell"]) == {"id", *NAMES}
    rescore([str(folder), "--out", str(tmp_path / "out")])
    assert (tmp_path / "out" / "rescored.csv").read_text().count("\n") == len(samples) + 1


def test_faults_are_found_together(make_suite, benchmark_rows):
    with pytest.raises(InvalidOption, match="parts"):
        SeveralSuites()
    twice = {name: make_suite("mathvista", benchmark_rows["rows"]["mathvista"]) for name in ("a", "b")}
    with pytest.raises(InvalidOption, match="mathvista is measured twice"):
        SeveralSuites(parts=twice)
    one = {"a": make_suite("mathvista", benchmark_rows["rows"]["mathvista"])}
    with pytest.raises(InvalidOption, match="lacks mathvista"):
        SeveralSuites(parts=one, cells=["id"])
