"""Whole stages on a benchmark with the smallest shipped model, composed as the command line does; scored again."""

import json

import pandas as pd
import pytest

from specs_lab.cli.composition import composer
from specs_lab.cli.values import study_of, value_faults
from specs_lab.core.progress import Progress
from specs_lab.rescore import main as rescore
from specs_lab.stages import explore
from specs_lab.stages.context import JobInfo
from specs_lab.stages.study import execute
from specs_lab.tracking.rows import RESCORE_COLUMNS, read_measures, read_rows, read_samples

EVALUATE = {"base": {"kind": "base"}, "evaluate_final": {"kind": "evaluate", "inputs": {"model": "base"}}}
EXPLORE = {"base": {"kind": "base"}, "explore": {"kind": "explore", "inputs": {"model": "base"}}}


def study_with(stages, folder, *overrides):
    wanted = [
        "model=tiny",
        "suite=mathvista",
        f"suite.path={folder}",
        "suite.n=3",
        "suite.max_new_tokens=24",
        "suite.temperature=1",
        "logger=none",
        *overrides,
    ]
    with composer() as known:
        cfg = known.compose(wanted)
        study = study_of(cfg)
    study.recipe.stages = study_recipe(stages)
    return study


def study_recipe(stages):
    from specs_lab.stages.options.recipe import StageSpec

    return {name: StageSpec(**spec) for name, spec in stages.items()}


@pytest.fixture
def evaluated(write_benchmark, benchmark_rows, tmp_path):
    """The artifact of `evaluate`, the job's folder, and what was reported."""
    rows = [*benchmark_rows["rows"]["mathvista"], benchmark_rows["mathvista"](9, answer=None)]
    folder = write_benchmark("mathvista", rows)
    events = []
    job = JobInfo(folder=tmp_path / "job")
    job.folder.mkdir()
    result = execute(study_with(EVALUATE, folder, "suite.max_broken=0.3"), job, Progress(events.append))
    assert result.status == "completed", result.error
    return result.stages["evaluate_final"].folder, job.folder, events


def test_the_stage_measures_the_benchmark_beside_held_out_problems(evaluated):
    folder, _, events = evaluated
    rows = read_rows(folder / "rows.csv").set_index(["cell", "metric"])
    assert rows.loc[("mathvista", "accuracy"), "n"] == 4
    assert rows.loc[("id", "accuracy"), "n"] == 3
    assert rows.loc[("mathvista", "question_type/multi_choice"), "n"] == 1
    written = json.loads((folder / "benchmark.json").read_text())
    assert (written["rows"], written["used"], written["broken"]) == (5, 4, {"no_answer": 1})
    for name, found in written["metrics"].items():
        assert found["low"] <= found["value"] <= found["high"], name
    said = [event["text"] for event in events if event["event"] == "message"]
    assert "evaluate_final: mathvista: 4 of 5 rows; broken: 1 no_answer" in said


def test_samples_hold_all_that_scoring_again_needs(evaluated):
    folder, *_ = evaluated
    samples = read_samples(folder / "samples.parquet", ("cell", "task_id", *RESCORE_COLUMNS))
    own = samples[samples["cell"] == "mathvista"]
    assert set(own["benchmark"]) == {"mathvista"}
    assert own["task_id"].is_unique
    assert all(json.loads(text)["row"]["answer"] for text in own["item"])
    assert set(samples[samples["cell"] == "id"]["benchmark"]) == {""}
    assert not any("images" in json.loads(text)["row"] for text in own["item"])


def test_scoring_again_gives_the_same_verdicts(evaluated, tmp_path, capsys):
    folder, job, _ = evaluated
    for where in (folder, job):
        out = tmp_path / f"out-{where.name}"
        rescore([str(where), "--out", str(out)])
        table = pd.read_csv(out / "rescored.csv")
        assert len(table) == 7
        assert not table["changed"].any()
        assert (table["old_correct"] == table["new_correct"]).all()
        assert (table["old_score"] == table["new_score"]).all()
        page = (out / "rescored.md").read_text()
        assert "0 of 7 verdicts changed" in page
        assert "question_type/multi_choice" in page
    assert "Scored again" in capsys.readouterr().out


def test_reports_show_the_benchmark_as_any_cell(evaluated, tmp_path):
    from specs_lab.tracking.markdown import summary_markdown
    from specs_lab.tracking.report import summarise

    _, job, _ = evaluated
    page = summary_markdown(summarise(tmp_path / "report", [job]))
    assert "mathvista" in page
    assert "ID = id, OOD = mathvista" in page


def test_the_same_rows_are_the_same_stage_wherever_they_lie(write_benchmark):
    from specs_lab.stages.graph import plan
    from specs_lab.stages.kinds import KINDS

    def key(folder, *overrides):
        return plan(study_with(EVALUATE, folder, *overrides), KINDS)[-1].key

    one = write_benchmark("mathvista")
    assert key(one) == key(write_benchmark("mathvista"))
    other = write_benchmark("mathvista")
    (other / "README.md").write_text("of another state")
    assert key(other) != key(one)
    assert key(one, "suite.limit=2") != key(one)


def test_exploring_takes_problems_and_scores_from_the_benchmark(write_benchmark, tmp_path):
    options = ["exploration=quick", "exploration.cells=[mathvista,id]", "exploration.n=3", "exploration.samples=4"]
    options += ["exploration.max_new_tokens=8", "exploration.spread_samples=0"]
    job = JobInfo(folder=tmp_path / "job")
    job.folder.mkdir()
    result = execute(study_with(EXPLORE, write_benchmark("mathvista"), *options), job, Progress())
    assert result.status == "completed", result.error
    folder = result.stages["explore"].folder
    measures = read_measures(folder / "measures.parquet")
    own = measures[measures["cell"] == "mathvista"]
    assert own["task_id"].nunique() == 3
    assert set(own["task_id"]) == {f"mathvista/{i}/tags" for i in (1, 2, 3)}
    assert measures[measures["cell"] == "id"]["task_id"].nunique() == 3
    assert {"pass@1", "pass@4"} <= set(own["metric"])
    responses = pd.read_parquet(folder / explore.RESPONSES)
    assert len(responses) == 6 * 4
    rescore([str(job.folder), "--out", str(tmp_path / "out")])
    table = pd.read_csv(tmp_path / "out" / "rescored.csv")
    assert len(table) == 6 * 4
    assert not table["changed"].any()
    page = (tmp_path / "out" / "rescored.md").read_text()
    for cell, group in measures[measures["metric"] == "pass@4"].groupby("cell"):
        assert f"| {cell} | pass@4 | 3 | {100 * group['value'].mean():.1f} " in page


def test_a_cell_that_neither_the_problems_nor_the_suite_have_is_a_fault(write_benchmark):
    place = f"suite.path={write_benchmark('mathvista')}"
    with composer() as known:
        fine = known.compose(["recipe=explored", "suite=mathvista", place, "exploration.cells=[mathvista]"])
        assert [fault.where for fault in value_faults(fine)] == []
        wrong = known.compose(["recipe=explored", "suite=mathvista", place, "exploration.cells=[mathverse]"])
        assert {fault.where for fault in value_faults(wrong)} == {"exploration.cells"}


@pytest.mark.parametrize(
    ("override", "where"),
    [
        ("suite.path=nowhere", "suite.path"),
        ("suite.instruction=politely", "suite.instruction"),
        ("suite.benchmark=mathvist", "suite.benchmark"),
        ("suite.max_broken=2", "suite.max_broken"),
        ("suite.limit=-1", "suite.limit"),
        ("suite.repo=''", "suite.repo"),
        ("suite.cells=[id]", "suite.cells"),
    ],
)
def test_wrong_options_are_named(override, where):
    with composer() as known:
        faults = value_faults(known.compose(["suite=mathvista", override]))
    assert where in {fault.where for fault in faults}


@pytest.mark.parametrize("name", ["mathvista", "mathverse", "mathvision", "we_math"])
def test_the_shipped_choices_are_sound(name):
    with composer() as known:
        cfg = known.compose([f"suite={name}"])
        assert value_faults(cfg) == []
        suite = study_of(cfg).suite
    assert suite.benchmark == name
    assert suite.repo
    assert suite.cells == ["id", name]
