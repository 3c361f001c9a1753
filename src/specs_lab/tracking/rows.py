"""The tables that a stage writes.

``rows.csv`` has metrics, ``samples.parquet`` every evaluated response, ``measures.parquet`` what many responses to a
problem make up. They lie in the stage's artifact folder, so a result is found wherever the artifact is reused. A row's
budget columns are running totals of its stage at that step.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, TextIO

from specs_lab.core.budget import Budget
from specs_lab.core.errors import Fault, UserError

if TYPE_CHECKING:
    import pandas as pd

JOB_FILE = "job.json"
"""The record that a job leaves in its folder; it names the artifact of each of its stages."""
BUDGET_COLUMNS = ("tokens", "flops", "generated_tokens", "seconds")
ROW_COLUMNS = ("step", "cell", "metric", "value", "n", *BUDGET_COLUMNS)
SAMPLE_COLUMNS = (
    "step",
    "cell",
    "task_id",
    "family",
    "style",
    "instruction",
    "response",
    "answer",
    "format",
    "accuracy",
    "truncated",
)
RESCORE_COLUMNS = (
    "question",
    "asked_kind",
    "choices",
    "precision",
    "unit",
    "asked_format",
    "benchmark",
    "item",
    "kind",
    "extracted",
    "score",
)
"""Columns of ``samples.parquet`` that older files lack: what a response answers, and what it was found to be.

``choices`` and ``item`` are JSON: the options' texts, and all of a benchmark's item but its pictures; ``asked_format``
is the format that was asked for, ``asked_kind`` the answer's declared type, ``kind`` the one it was compared as."""
MEASURE_COLUMNS = ("step", "cell", "task_id", "metric", "value")
_ROW_TYPES = {
    "step": "int64",
    "cell": "str",
    "metric": "str",
    "value": "float64",
    "n": "int64",
    "tokens": "int64",
    "flops": "float64",
    "generated_tokens": "int64",
    "seconds": "float64",
}
_SAMPLE_TYPES = {"step": "int64"} | dict.fromkeys(("format", "accuracy", "truncated"), "bool")


class RowWriter:
    """Appends rows to a ``rows.csv``; a context manager. Every row is on disk when :meth:`add` returns.

    Args:
        path: The file; continued if it exists.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: TextIO | None = None

    def __enter__(self) -> RowWriter:
        self._file = self.path.open("a", newline="", encoding="utf-8")
        if not self._file.tell():
            self._write(ROW_COLUMNS)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def add(self, *, step: int, metric: str, value: float, budget: Budget, cell: str = "", n: int = 0) -> None:
        """Appends one row.

        Args:
            step: Optimizer steps taken in this stage.
            metric: Name of the metric, e.g. ``joint`` or ``train/loss``.
            value: Its value; NaN where undefined.
            budget: What the stage has cost so far.
            cell: The evaluated cell; empty for training metrics.
            n: How many problems, prompts or pairs the value is a mean over.
        """
        totals = (budget.tokens, float(budget.flops), budget.generated_tokens, float(budget.seconds))
        self._write((step, cell, metric, float(value), n, *totals))

    def _write(self, row: Sequence[object]) -> None:
        if self._file is None:
            raise ValueError(f"{self.path} is not open; use `with RowWriter(path) as rows`")
        csv.writer(self._file).writerow(row)
        self._file.flush()


def read_rows(path: Path) -> pd.DataFrame:
    """Reads a ``rows.csv``.

    Raises:
        UserError: If a column is missing.
    """
    import pandas as pd

    with path.open(encoding="utf-8") as file:
        header = next(csv.reader(file), [])
    _require(path, header, ROW_COLUMNS)
    # Only the empty string is no number: the cell of a training row is empty, too, and has to stay a string.
    return pd.read_csv(path, dtype=_ROW_TYPES, keep_default_na=False, na_values={"value": ["", "nan"]})  # pyright: ignore


def write_samples(path: Path, samples: Iterable[Mapping[str, Any]]) -> None:
    """Writes a ``samples.parquet``.

    Args:
        path: The file; replaced if it exists.
        samples: One mapping per response with the keys ``SAMPLE_COLUMNS``, and ``RESCORE_COLUMNS`` if it can be scored
            again.
    """
    import pandas as pd

    rows = list(samples)
    more = [name for name in RESCORE_COLUMNS if any(name in row for row in rows)]
    frame = pd.DataFrame(rows, columns=[*SAMPLE_COLUMNS, *more])
    frame.astype(_SAMPLE_TYPES | {name: "float64" for name in ("precision", "score") if name in more}).to_parquet(
        path, index=False, compression="zstd"
    )


def read_samples(path: Path, columns: Sequence[str] = SAMPLE_COLUMNS) -> pd.DataFrame:
    """Reads columns of a ``samples.parquet``.

    Raises:
        UserError: If a column is missing.
    """
    import pandas as pd
    from pyarrow import parquet

    _require(path, parquet.read_schema(path).names, columns)
    return pd.read_parquet(path, columns=list(columns))


def write_measures(path: Path, measures: Iterable[Mapping[str, Any]]) -> None:
    """Writes a ``measures.parquet``: a value per problem and measure; NaN where a problem has none.

    Args:
        path: The file; replaced if it exists.
        measures: One mapping per value with the keys ``MEASURE_COLUMNS``.
    """
    import pandas as pd

    frame = pd.DataFrame(list(measures), columns=list(MEASURE_COLUMNS))
    frame.astype({"step": "int64", "value": "float64"}).to_parquet(path, index=False, compression="zstd")


def read_measures(path: Path) -> pd.DataFrame:
    """Reads a ``measures.parquet``.

    Raises:
        UserError: If a column is missing.
    """
    return read_samples(path, MEASURE_COLUMNS)


def _require(path: Path, found: Sequence[str], wanted: Sequence[str]) -> None:
    missing = [name for name in wanted if name not in found]
    if missing:
        raise UserError([Fault(str(path), f"has no column {', '.join(missing)}", "delete the artifact and run again")])
