"""Files of rows: how many they hold, and the kinds that are taken."""

import json

import pyarrow
import pytest
from pyarrow import parquet

from specs_lab.core.errors import UserError
from specs_lab.data.row_files import Account, count_rows, rows_of
from specs_lab.problems.rows import BrokenRow

ROWS = [{"a": 1}, {"a": 2}, {"a": 3}]


@pytest.fixture(params=["rows.parquet", "rows.jsonl", "rows.json"])
def file(request, tmp_path):
    path = tmp_path / request.param
    if path.suffix == ".parquet":
        parquet.write_table(pyarrow.Table.from_pylist(ROWS), path)
    else:
        lines = "\n\n".join(map(json.dumps, ROWS))
        path.write_text(lines if path.suffix == ".jsonl" else json.dumps(ROWS, indent=2))
    return path


def test_every_kind_of_file_gives_its_rows_and_their_number(file):
    read = list(rows_of(file, kinds=(".parquet", ".jsonl", ".json")))
    assert [row for _, _, row in read] == ROWS
    numbers = [number for _, number, _ in read]
    assert numbers == ([1, 3, 5] if file.suffix == ".jsonl" else [1, 2, 3])  # lines count empty ones, as editors do
    assert count_rows(file) == 3


def test_a_number_of_rows_that_cannot_be_told_is_none(tmp_path):
    for name, content in (("a.json", "{"), ("b.json", "5"), ("c.parquet", "none")):
        (tmp_path / name).write_text(content)
        assert count_rows(tmp_path / name) == 0
    assert count_rows(tmp_path / "missing.jsonl") == 0


def test_a_kind_that_is_not_taken_and_a_missing_column_are_refused(tmp_path, file):
    other = {".parquet": ".jsonl", ".jsonl": ".json", ".json": ".parquet"}[file.suffix]
    with pytest.raises(UserError, match="is no known kind of file"):
        list(rows_of(file, kinds=(other,)))
    if file.suffix == ".parquet":
        with pytest.raises(UserError, match=r"has no column 'b' or 'c' \(it has: a\)"):
            list(rows_of(file, needed=[("a",), ("b", "c")]))


def test_items_of_a_list_that_are_no_objects_are_broken_rows(tmp_path):
    (tmp_path / "rows.json").write_text('[{"a": 1}, 5]')
    (_, _, one), (where, number, two) = rows_of(tmp_path / "rows.json", kinds=(".json",))
    assert one == {"a": 1}
    assert (where, number) == ("item", 2)
    assert isinstance(two, BrokenRow)
    assert two.reason == "not_json"


def test_an_account_lists_the_first_broken_rows_and_counts_the_others(tmp_path):
    account = Account(tmp_path / "rows.json", {"odd": "make it even"})
    for number in range(25):
        account.counts["rows"] += 1
        account.broken("line", number, BrokenRow("odd", "is odd"))
    with pytest.raises(UserError) as raised:
        account.close(3, skip_broken=False)
    assert len(raised.value.faults) == 21
    assert raised.value.faults[-1].what == "5 more rows of 25 are broken (in all: odd: 25)"
    account.close(3, skip_broken=True)
    with pytest.raises(UserError, match="make it even"):
        account.close(0, skip_broken=True)
