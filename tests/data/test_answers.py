"""Gold answers from a user's file."""

import json
from pathlib import Path

import pyarrow
import pytest
from pyarrow import parquet

from specs_lab.core.errors import UserError
from specs_lab.data.answers import read_answers

ROWS = [
    {"id": "a", "answer": "7", "kind": "integer", "unit": "cm"},
    {"qid": 5, "gt": "B", "options": ["left", "right"]},
    {"pid": "c", "answer": 3.5, "answer_type": "float", "precision": 1, "question": "How much?", "image": "x" * 50},
    {"ground_truth": True},
]


def _write(folder: Path, rows: list[dict], kind: str) -> Path:
    path = folder / f"rows.{kind}"
    if kind == "jsonl":
        path.write_text("\n\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    else:
        parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    return path


def test_rows_are_read_whatever_the_columns_are_called(tmp_path: Path):
    path = _write(tmp_path, ROWS, "jsonl")
    a, b, c, d = read_answers(path)
    assert (a.id, a.gold, a.kind, a.unit) == ("a", "7", "integer", "cm")
    assert (b.id, b.gold, b.kind, b.choices) == ("5", "B", None, ("left", "right"))
    assert (c.gold, c.kind, c.precision, c.question) == ("3.5", "float", 1.0, "How much?")
    assert (d.id, d.gold) == (f"{path}: row 4", "True")


def test_parquet_and_jsonl_say_the_same(tmp_path: Path):
    rows = [{"id": "a", "answer": "7", "choices": ["7", "8"]}, {"id": "b", "answer": "8", "choices": None}]
    assert read_answers(_write(tmp_path, rows, "parquet")) == read_answers(_write(tmp_path, rows, "jsonl"))


def test_all_faulty_rows_are_reported_together(tmp_path: Path):
    wrong = {"choices": "A", "precision": "two", "kind": 3, "unit": ["cm"]}
    rows = [{"id": "a"}, {"answer": ["7"]}, *({"answer": "7", name: value} for name, value in wrong.items())]
    with pytest.raises(UserError) as error:
        read_answers(_write(tmp_path, rows, "jsonl"))
    assert [fault.where.rpartition(" ")[2] for fault in error.value.faults] == ["1", "2", "3", "4", "5", "6"]


def test_a_unit_may_be_the_number_one_and_a_text_may_hold_a_line_separator(tmp_path: Path):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"answer": "0.5", "unit": 1}\n{"answer": "a\u2028b"}\n', encoding="utf-8")
    assert [(one.unit, one.gold) for one in read_answers(path)] == [("1", "0.5"), (None, "a\u2028b")]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"answer", "no known kind"),
        ("a.jsonl", b"{}\nnot json\n[1]", "line 2"),
        ("a.jsonl", b"", "no rows"),
        ("a.jsonl", '{"answer": "\u00e9"}'.encode("latin-1"), "no UTF-8"),
        ("a.parquet", b"not parquet", "no readable parquet"),
    ],
)
def test_what_is_no_such_file_is_a_user_error(tmp_path: Path, name: str, content: bytes, message: str):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=message):
        read_answers(tmp_path / name)


def test_a_missing_file_is_a_user_error(tmp_path: Path):
    with pytest.raises(UserError, match="no such file"):
        read_answers(tmp_path / "none.jsonl")
