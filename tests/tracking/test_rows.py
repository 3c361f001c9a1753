"""Rows and samples survive being written and read."""

import math

import pandas as pd
import pytest

from specs_lab.core.budget import Budget
from specs_lab.core.errors import UserError
from specs_lab.tracking.rows import ROW_COLUMNS, SAMPLE_COLUMNS, RowWriter, read_rows, read_samples, write_samples


def test_rows_round_trip_exactly(tmp_path):
    budget = Budget(parameters=3, tokens=12, flops=216.5, generated_tokens=4, seconds=0.25)
    with RowWriter(tmp_path / "rows.csv") as rows:
        rows.add(step=5, cell="ood, far", metric="joint", value=0.1 + 0.2, n=120, budget=budget)
        rows.add(step=5, metric="train/loss", value=math.nan, budget=budget)
    frame = read_rows(tmp_path / "rows.csv")
    assert tuple(frame.columns) == ROW_COLUMNS
    assert frame.iloc[0].tolist() == [5, "ood, far", "joint", 0.1 + 0.2, 120, 12, 216.5, 4, 0.25]
    assert frame["cell"].tolist() == ["ood, far", ""]
    assert math.isnan(frame["value"].iloc[1])


def test_cells_named_like_missing_values_stay_names(tmp_path):
    with RowWriter(tmp_path / "rows.csv") as rows:
        rows.add(step=0, cell="NA", metric="null", value=1.0, budget=Budget())
    assert read_rows(tmp_path / "rows.csv")[["cell", "metric"]].iloc[0].tolist() == ["NA", "null"]


def test_every_row_is_on_disk_at_once(tmp_path):
    with RowWriter(tmp_path / "rows.csv") as rows:
        rows.add(step=1, metric="train/loss", value=0.5, budget=Budget())
        assert read_rows(tmp_path / "rows.csv")["value"].tolist() == [0.5]


def test_a_second_writer_continues_the_file(tmp_path):
    for step in (1, 2):
        with RowWriter(tmp_path / "rows.csv") as rows:
            rows.add(step=step, metric="train/loss", value=0.5, budget=Budget())
    assert read_rows(tmp_path / "rows.csv")["step"].tolist() == [1, 2]


def test_a_closed_writer_refuses_rows(tmp_path):
    with pytest.raises(ValueError, match="is not open"):
        RowWriter(tmp_path / "rows.csv").add(step=1, metric="a", value=0.5, budget=Budget())


def test_a_file_of_something_else_is_a_user_error(tmp_path):
    (tmp_path / "rows.csv").write_text("step,loss\n1,2\n")
    with pytest.raises(UserError, match="has no column cell, metric, value, n, tokens"):
        read_rows(tmp_path / "rows.csv")
    pd.DataFrame({"step": [1]}).to_parquet(tmp_path / "samples.parquet")
    with pytest.raises(UserError, match="has no column cell"):
        read_samples(tmp_path / "samples.parquet")


def make_sample(**changes):
    texts = dict.fromkeys(SAMPLE_COLUMNS, "x")
    return {**texts, "step": 3, "format": True, "accuracy": False, "truncated": False, **changes}


def test_samples_round_trip(tmp_path):
    samples = [make_sample(response='line 1\nline "2"\x00é'), make_sample(cell="ood", accuracy=True)]
    write_samples(tmp_path / "samples.parquet", samples)
    frame = read_samples(tmp_path / "samples.parquet")
    assert frame.to_dict(orient="records") == samples
    assert [str(frame[name].dtype) for name in ("step", "format", "accuracy", "truncated")] == ["int64", *["bool"] * 3]


def test_only_the_wanted_columns_are_read(tmp_path):
    write_samples(tmp_path / "samples.parquet", [make_sample()])
    assert list(read_samples(tmp_path / "samples.parquet", ("step", "format")).columns) == ["step", "format"]


def test_no_samples_make_an_empty_table(tmp_path):
    write_samples(tmp_path / "samples.parquet", [])
    assert read_samples(tmp_path / "samples.parquet").empty


def test_what_scoring_again_needs_is_kept_where_it_is_given(tmp_path):
    path = tmp_path / "samples.parquet"
    write_samples(path, [make_sample() | {"question": "How many?", "precision": None, "score": 1.0, "benchmark": ""}])
    more = read_samples(path, ("question", "precision", "score", "benchmark"))
    assert more["question"].tolist() == ["How many?"]
    assert more["precision"].isna().all()
    write_samples(path, [make_sample()])
    assert list(read_samples(path).columns) == list(SAMPLE_COLUMNS)
    with pytest.raises(UserError, match="question"):
        read_samples(path, ("question",))
