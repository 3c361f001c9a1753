"""Reads gold answers from a user's file."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from specs_lab.core.errors import Fault, UserError, raise_faults
from specs_lab.rewards.scoring import Asked

_NAMES = {
    "gold": ("answer", "gold", "gt", "ground_truth"),
    "id": ("id", "qid", "pid", "sample_index"),
    "kind": ("kind", "answer_type"),
    "choices": ("choices", "options"),
    "precision": ("precision",),
    "unit": ("unit",),
    "question": ("question", "problem"),
}
"""Under which names columns are looked for; the first that is there counts."""


def read_answers(path: Path) -> list[Asked]:
    """Reads a ``.jsonl`` or ``.parquet`` file with a row for each task.

    A row without an id goes by its number, from 1. Numbers and booleans are answers too.

    Raises:
        UserError: If the file cannot be read, or with all rows that have no answer, or a wrong type somewhere.
    """
    rows = list(_rows(path))
    faults: list[Fault] = []
    asked = [_asked(row, f"{path}: row {number}", faults) for number, row in enumerate(rows, start=1)]
    if not rows:
        faults.append(Fault(str(path), "has no rows", "give a file with a row for each task"))
    raise_faults(faults)
    return [one for one in asked if one is not None]


def _rows(path: Path) -> Iterable[Mapping[str, Any]]:
    if not path.is_file():
        raise UserError([Fault(str(path), "there is no such file", "give the path of a .jsonl or .parquet file")])
    if path.suffix == ".parquet":
        return _parquet_rows(path)
    if path.suffix == ".jsonl":
        return _json_rows(path)
    raise UserError([Fault(str(path), f"'{path.suffix}' is no known kind of file", "give a .jsonl or .parquet file")])


def _parquet_rows(path: Path) -> list[dict[str, Any]]:
    import pyarrow
    from pyarrow import parquet

    try:
        wanted = {name for names in _NAMES.values() for name in names}
        columns = [name for name in parquet.read_schema(path).names if name in wanted]
        return parquet.read_table(path, columns=columns).to_pylist()
    except (pyarrow.ArrowInvalid, OSError) as error:
        raise UserError([Fault(str(path), f"is no readable parquet file ({error})", "write it anew")]) from error


def _json_rows(path: Path) -> list[dict[str, Any]]:
    rows, faults = [], []
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except UnicodeDecodeError as error:
        raise UserError([Fault(str(path), f"is no UTF-8 text ({error})", "save it as UTF-8")]) from error
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            faults.append(Fault(f"{path}: line {number}", f"is no JSON ({error})", "write one object a line"))
            continue
        if isinstance(row, dict):
            rows.append(row)
        else:
            faults.append(Fault(f"{path}: line {number}", "is no object", "write one object a line"))
    raise_faults(faults)
    return rows


def _asked(row: Mapping[str, Any], where: str, faults: list[Fault]) -> Asked | None:
    found = {name: next((row[n] for n in names if row.get(n) is not None), None) for name, names in _NAMES.items()}
    gold, choices, precision = found["gold"], found["choices"] or [], found["precision"]
    wrong = [
        (gold is None, "has no answer", f"add one under one of the names {', '.join(_NAMES['gold'])}"),
        (not isinstance(gold, str | int | float | None), "has an answer that is no text", "write it as text"),
        (not isinstance(found["kind"], str | None), "has a type that is no text", "write the name of an answer type"),
        (not isinstance(found["unit"], str | int | None), "has a unit that is no text", "write a unit, or 1"),
        (not isinstance(choices, list), "has choices that are no list", "write a list of texts"),
        (not isinstance(precision, int | float | None), "has a precision that is no number", "write a number"),
    ]
    problems = [Fault(where, what, fix) for is_so, what, fix in wrong if is_so]
    faults += problems
    if problems:
        return None
    return Asked(
        id=str(found["id"]) if found["id"] is not None else where,
        gold=str(gold),
        format="think_answer",
        kind=found["kind"],
        choices=tuple(map(str, choices)),
        precision=None if precision is None else float(precision),
        unit=None if found["unit"] in (None, "") else str(found["unit"]),
        question=str(found["question"] or ""),
    )
