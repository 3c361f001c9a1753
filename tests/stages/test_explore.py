"""The stage `explore` with the smallest shipped model: what it writes, and that it repeats."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from specs_lab.core.errors import UserError
from specs_lab.core.progress import Progress
from specs_lab.evaluation.judges.none import NoJudge
from specs_lab.evaluation.suites.cells import CellsSuite
from specs_lab.evaluation.suites.sampled import SampledSuite
from specs_lab.metrics.passk import pass_at_k
from specs_lab.models.sources.embedded import EmbeddedModel
from specs_lab.problems.sources.procedural import ProceduralProblems
from specs_lab.problems.tasks import Cell
from specs_lab.stages import explore
from specs_lab.stages.store import Store
from specs_lab.tracking.rows import read_measures, read_rows
from specs_lab.training.options.trainer import TrainerOptions

PROBLEMS = ProceduralProblems(
    families=["count", "digits"],
    ood_families=["clock"],
    instructions=["tags"],
    ood_instructions=["template"],
    styles=["plain"],
    cells={"id": Cell(), "ood": Cell(family="ood", instruction="ood")},
)
SUITE = {"cells": ["id", "ood"], "n": 3, "samples": 8, "spread_samples": 2, "group_size": 4, "max_new_tokens": 24}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    model = tmp_path_factory.mktemp("base")
    option = EmbeddedModel(size="tiny", base_seed=0)
    (model / "model").symlink_to(option.folder)
    option.setup().write(model)

    def explored(events=None, sample_batch_size=128, **options):
        folder = tmp_path_factory.mktemp("explore")
        context = SimpleNamespace(
            options={
                "exploration": SampledSuite(**{**SUITE, **options}),
                "suite": CellsSuite(cells=["id", "ood"]),
                "trainer": TrainerOptions(sample_batch_size=sample_batch_size),
                "judge": NoJudge(),
                "problems": PROBLEMS,
            },
            inputs={"model": model},
            folder=folder,
            work=folder / ".work",
            seed=0,
            name="explore_base",
            progress=Progress([].append if events is None else events.append),
            loggers=tuple,
            store=Store(folder / "store"),
        )
        explore.run(context)  # pyright: ignore[reportArgumentType]
        return folder

    return explored


@pytest.fixture(scope="module")
def made(run):
    return run()


def test_measures_are_those_of_the_responses(made):
    responses = pd.read_parquet(made / explore.RESPONSES)
    table = read_measures(made / "measures.parquet").pivot(index="task_id", columns="metric", values="value")
    assert len(table) == 6
    assert len(responses) == 6 * 8
    for task_id, group in responses.groupby("task_id"):
        right = int(group["correct"].sum())
        for k in (1, 2, 4, 8):
            assert table.loc[task_id, f"pass@{k}"] == pass_at_k(8, right, k)
        assert table.loc[task_id, "joint pass@8"] == (group["correct"] & group["format"]).any()
        assert table.loc[task_id, "maj@1"] == pytest.approx(right / 8)
        assert table.loc[task_id, "length"] == group["length"].mean()
        assert group["k"].tolist() == list(range(8))
    assert (table["rbf"] >= 1).all()
    assert (table["entropy"] >= 0).all()
    assert 0 < responses["correct"].mean() < 1  # so that the above says something
    assert not (made / "samples.parquet").exists()  # the report would take it for an evaluation


def test_rows_are_means_over_the_problems_that_have_a_value(made):
    rows = read_rows(made / "rows.csv").set_index(["cell", "metric"])
    measures = read_measures(made / "measures.parquet")
    for (cell, metric), group in measures.groupby(["cell", "metric"]):
        row = rows.loc[(cell, metric)]
        assert row["n"] == group["value"].notna().sum()
        np.testing.assert_allclose(row["value"], group["value"].mean())
    assert set(rows.index.get_level_values("cell")) == {"id", "ood"}


def test_problems_are_the_first_that_an_evaluation_measures(made):
    tasks = CellsSuite(cells=["id", "ood"], n=5).tasks(PROBLEMS)
    explored = read_measures(made / "measures.parquet")[["cell", "task_id"]].drop_duplicates()
    for cell, group in explored.groupby("cell"):
        assert group["task_id"].tolist() == [task.id for task in tasks if task.cell == cell][:3]


def test_responses_depend_neither_on_batches_nor_on_how_many_are_drawn(run, made):
    whole = pd.read_parquet(made / explore.RESPONSES)
    small = pd.read_parquet(run(sample_batch_size=4) / explore.RESPONSES)
    pd.testing.assert_frame_equal(small, whole)
    fewer = pd.read_parquet(run(samples=3, spread_samples=0) / explore.RESPONSES)
    pd.testing.assert_frame_equal(fewer, whole[whole["k"] < 3].reset_index(drop=True))


def test_the_nucleus_is_what_was_asked_for(run, made):
    wide, narrow = (run(top_p=p, temperature=2.0) for p in (1.0, 1e-6))
    answers = [pd.read_parquet(folder / explore.RESPONSES).groupby("task_id")["response"] for folder in (wide, narrow)]
    assert (answers[1].nunique() == 1).all()
    assert (answers[0].nunique() > 1).all()


def test_only_the_wanted_k_are_measured_and_no_spread_unless_asked_for(run):
    measures = read_measures(run(ks=[3, 1], spread_samples=0) / "measures.parquet")
    metrics = set(measures["metric"])
    assert {name for name in metrics if "@" in name} == {
        f"{of}@{k}" for of in ("pass", "joint pass", "maj") for k in (1, 3)
    }
    assert not metrics & {"rbf", "entropy"}


def test_progress_is_told_problem_by_problem(run):
    events = []
    run(events, sample_batch_size=4)
    done = [one["done"] for one in events if one["event"] == "advance" and one["task"] == "explore_base: problems"]
    assert done == [2, 4, 6]  # chunks of four batches of four responses


@pytest.mark.parametrize(
    ("wrong", "where"),
    [
        ({"cells": []}, "cells"),
        ({"samples": 0, "spread_samples": 0}, "samples"),
        ({"spread_samples": 9}, "spread_samples"),
        ({"ks": [16]}, "ks"),
        ({"top_p": 0.0}, "top_p"),
        ({"temperature": 0.0}, "temperature"),
    ],
)
def test_wrong_options_are_named(wrong, where):
    with pytest.raises(ValueError, match=where) as error:
        SampledSuite(**{**SUITE, **wrong})
    assert not isinstance(error.value, UserError)
