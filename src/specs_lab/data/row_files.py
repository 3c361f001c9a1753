"""Reads files of rows that others wrote, row by row, and keeps an account of the rows that cannot be used."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from specs_lab.core.errors import Fault, UserError
from specs_lab.problems.rows import BrokenRow

if TYPE_CHECKING:
    from pyarrow.parquet import ParquetFile

FAULTS_SHOWN = 20
NOT_JSON = "not_json"
LONGEST_LINE = 2**26
"""Longest line of a file of JSON lines, in bytes."""
LARGEST_LIST = 2**32
"""Largest ``.json`` file, in bytes: it is read into memory whole."""
_ROWS_AT_ONCE = 32
_BYTES_AT_ONCE = 2**30


@dataclass
class Account:
    """How many rows of a file were read, and what was wrong with which.

    Attributes:
        path: The file.
        fixes: What to do about each kind of broken row, by the name that it is counted under.
        counts: ``rows`` that were read, and ``broken/<reason>``.
        faults: The first broken rows.
    """

    path: Path
    fixes: Mapping[str, str]
    counts: Counter[str] = field(default_factory=Counter)
    faults: list[Fault] = field(default_factory=list)

    def broken(self, where: str, number: int, row: BrokenRow) -> None:
        """Counts a row that cannot be used."""
        self.counts[f"broken/{row.reason}"] += 1
        if len(self.faults) < FAULTS_SHOWN:
            self.faults.append(Fault(f"{self.path}: {where} {number}", row.what, self.fixes[row.reason]))

    def close(self, usable: int, *, skip_broken: bool) -> None:
        """Ends the reading.

        Args:
            usable: How many rows can be used.
            skip_broken: Whether broken rows may be left out; there must then be another.

        Raises:
            UserError: With the first 20 broken rows and the number of the others; or if there are no rows at all.
        """
        if self.faults and not (skip_broken and usable):
            raise UserError([*self.faults, *self._others()])
        if not self.counts["rows"]:
            raise UserError([Fault(str(self.path), "has no rows", "give a file with a row for each example")])

    def _others(self) -> list[Fault]:
        """A last fault that stands for the broken rows which are not listed."""
        by_reason = {name.removeprefix("broken/"): n for name, n in self.counts.items() if name.startswith("broken/")}
        more = sum(by_reason.values()) - len(self.faults)
        if not more:
            return []
        reasons = ", ".join(f"{name}: {n}" for name, n in sorted(by_reason.items()))
        fix = "mend the rows, or have broken rows left out"
        return [Fault(str(self.path), f"{more} more rows of {self.counts['rows']} are broken (in all: {reasons})", fix)]


def rows_of(
    path: Path,
    *,
    needed: Sequence[Sequence[str]] = (),
    wanted: Sequence[str] | None = None,
    kinds: Sequence[str] = (".parquet", ".jsonl"),
) -> Iterator[tuple[str, int, Mapping[str, Any] | BrokenRow]]:
    """What rows are called in a file, their number from 1, and the rows.

    Of a parquet file and of JSON lines only a few rows are in memory at once; a ``.json`` file is one list.

    Args:
        path: The file.
        needed: Columns that a parquet file must have, each as its alternatives.
        wanted: The columns that are read from a parquet file; None: all.
        kinds: The endings of files that are taken.

    Raises:
        UserError: If there is no such file, it is of another kind, cannot be read, or lacks a column.
    """
    of_kind = " or ".join(kinds)
    if not path.is_file():
        raise UserError([Fault(str(path), "there is no such file", f"give the path of a {of_kind} file")])
    if path.suffix not in kinds:
        raise UserError([Fault(str(path), f"'{path.suffix}' is no known kind of file", f"give a {of_kind} file")])
    if path.suffix == ".parquet":
        return _parquet_rows(path, needed, wanted)
    return _json_lines(path) if path.suffix == ".jsonl" else _json_list(path)


def count_rows(path: Path) -> int:
    """About how many rows a file has, for those who wait; 0 if it cannot be told, which reading it will explain."""
    if path.suffix == ".parquet":
        from pyarrow import ArrowException, parquet

        try:
            return parquet.read_metadata(path).num_rows
        except (ArrowException, OSError):
            return 0
    if not path.is_file():
        return 0
    if path.suffix == ".json":
        if path.stat().st_size > LARGEST_LIST:
            return 0
        try:
            return len(json.loads(path.read_bytes()))
        except (ValueError, RecursionError, TypeError):
            return 0
    return sum(1 for line in _lines(path) if line.strip())


def _parquet_rows(
    path: Path, needed: Sequence[Sequence[str]], wanted: Sequence[str] | None
) -> Iterator[tuple[str, int, Mapping[str, Any]]]:
    import pyarrow
    from pyarrow import parquet

    number = 0
    try:
        with parquet.ParquetFile(path) as file:
            names = file.schema_arrow.names
            _check_columns(path, names, needed)
            columns = None if wanted is None else [name for name in names if name in wanted]
            for batch in file.iter_batches(batch_size=_batch_size(file), columns=columns):
                for row in batch.to_pylist():
                    number += 1
                    yield "row", number, row
    except (pyarrow.ArrowException, OSError) as error:
        raise UserError([Fault(str(path), f"is no readable parquet file ({error})", "write it anew")]) from error


def _batch_size(file: ParquetFile) -> int:
    """So few rows at a time that they fit into memory, even if each is as large as its whole column.

    A text that a column holds once, and names in every row, is written out for each row that is read.
    """
    groups = [file.metadata.row_group(index) for index in range(file.metadata.num_row_groups)]
    columns = [group.column(index).total_uncompressed_size for group in groups for index in range(group.num_columns)]
    return max(1, min(_ROWS_AT_ONCE, _BYTES_AT_ONCE // max([1, *columns])))


def _check_columns(path: Path, names: Sequence[str], needed: Sequence[Sequence[str]]) -> None:
    missing = [" or ".join(f"'{name}'" for name in group) for group in needed if not set(group) & set(names)]
    if missing:
        have = ", ".join(names) or "none"
        raise UserError([Fault(str(path), f"has no column {one} (it has: {have})", "add it") for one in missing])


def _json_lines(path: Path) -> Iterator[tuple[str, int, Mapping[str, Any] | BrokenRow]]:
    for number, line in enumerate(_lines(path), start=1):
        if line.strip():
            yield "line", number, _json_row(line)


def _lines(path: Path) -> Iterator[bytes]:
    """The lines of a file, as bytes, so that one which is no UTF-8 is a fault of that line only; long ones are cut."""
    with path.open("rb") as file:
        while line := file.readline(LONGEST_LINE + 1):
            rest = line
            while len(rest) > LONGEST_LINE and not rest.endswith(b"\n"):
                rest = file.readline(LONGEST_LINE + 1)
            yield line


def _json_row(line: bytes) -> Mapping[str, Any] | BrokenRow:
    if len(line) > LONGEST_LINE:
        return BrokenRow(NOT_JSON, f"has more than {LONGEST_LINE} bytes; write larger rows as parquet")
    try:
        row = json.loads(line.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:  # no JSON, no UTF-8, a number with thousands of digits; too deep
        return BrokenRow(NOT_JSON, f"is no JSON ({error})")
    return row if isinstance(row, dict) else BrokenRow(NOT_JSON, "is no JSON object")


def _json_list(path: Path) -> Iterator[tuple[str, int, Mapping[str, Any] | BrokenRow]]:
    if path.stat().st_size > LARGEST_LIST:
        what = f"has more than {LARGEST_LIST} bytes, and is one list, which is read whole"
        raise UserError([Fault(str(path), what, "write it as JSON lines, or as parquet")])
    try:
        rows = json.loads(path.read_bytes().decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise UserError([Fault(str(path), f"is no JSON ({error})", "write one list of objects, in UTF-8")]) from error
    if not isinstance(rows, list):
        raise UserError([Fault(str(path), "is no JSON list", "write one list of objects, or a .jsonl file")])
    for number, row in enumerate(rows, start=1):
        yield "item", number, row if isinstance(row, dict) else BrokenRow(NOT_JSON, "is no JSON object")
