"""The index of a dataset: its usable rows, made once and kept on disk.

Making it reads every row and, unless told otherwise, decodes every picture; using it reads a few numbers a row.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections import Counter
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from filelock import FileLock

from specs_lab.core.errors import Fault, UserError
from specs_lab.core.progress import Progress
from specs_lab.problems.rows import ProblemRow
from specs_lab.problems.scanning import Counts, Entry, IndexSpec, build, kept_rows, read_row
from specs_lab.problems.tables import Table, open_table

_COLUMNS = ("id", "table", "number", "at", "family", "split", "kind", "images", "pixels", "characters")
_FACTS, _ROWS = "facts.json", "rows.parquet"


class Index:
    """The usable rows of a dataset, and access to them.

    Args:
        spec: What it was made of.
        entries: The usable rows.
        counts: What became of all rows.
        folder: Where it is kept.
    """

    def __init__(self, spec: IndexSpec, entries: list[Entry], counts: Counts, folder: Path) -> None:
        self._spec = spec
        self.entries = entries
        self.counts = counts
        self._folder = folder
        self._by_id = {entry.id: number for number, entry in enumerate(entries)}
        self._tables: dict[str, Table] = {}

    def number_of(self, name: str) -> int | None:
        """The position of a problem in ``entries``; None if there is no such problem."""
        return self._by_id.get(name)

    def row(self, entry: Entry) -> ProblemRow:
        """The row of an entry, its pictures not yet decoded."""
        return read_row(self._spec, self._table(entry.table)[entry.at], entry.table, entry.number)

    def pictures_start(self, entry: Entry) -> Path:
        """Where relative paths of an entry's pictures start."""
        return self._table(entry.table).folder

    def _table(self, name: str) -> Table:
        if name not in self._tables:
            ref = dict(self._spec.tables)[name]
            self._tables[name] = kept_rows(self._folder, name, ref) if ref.streaming else open_table(ref)
        return self._tables[name]


@lru_cache(maxsize=8)
def open_index(spec: IndexSpec) -> Index:
    """The index of a dataset: from disk, or made now if it is not there, or not whole.

    Raises:
        UserError: If the data cannot be read, or no row of them can be used.
    """
    folder, entries, counts = make_index(spec)
    return Index(spec, entries, counts, folder)


def make_index(spec: IndexSpec, progress: Progress | None = None) -> tuple[Path, list[Entry], Counts]:
    """Makes the index of a dataset, unless it is there already.

    Args:
        spec: What it is made of.
        progress: Told of the rows that are read.

    Returns:
        Its folder, and its content.

    Raises:
        UserError: If the data cannot be read, or no row of them can be used.
    """
    folder = _cache() / spec.key()
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):  # others wait instead of doing the same work
        loaded = _load(folder)
        if loaded is None:
            with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".making-") as made:
                place = Path(made) / "index"
                place.mkdir()
                _save(place, *build(spec, place, progress or Progress()))
                shutil.rmtree(folder, ignore_errors=True)  # what is left of a broken one
                place.rename(folder)
            loaded = _load(folder)
        if loaded is None:
            raise UserError([Fault(str(folder), "cannot be read back", "check the disk, and delete the folder")])
    return folder, *loaded


def _cache() -> Path:
    from specs_lab.core.cache import cache_folder

    return Path(cache_folder()) / "problems"


def _save(folder: Path, entries: list[Entry], counts: Counts) -> None:
    import pyarrow
    from pyarrow import parquet

    columns = {name: [getattr(entry, name) for entry in entries] for name in _COLUMNS}
    parquet.write_table(pyarrow.table(columns), folder / _ROWS)
    facts = {
        "rows": counts.rows,
        "kept": len(entries),
        "broken": dict(counts.broken),
        "examples": counts.examples,
        "streamed": sorted(path.name for path in folder.iterdir() if path.is_dir()),
    }
    (folder / _FACTS).write_text(json.dumps(facts, ensure_ascii=False, indent=1), encoding="utf-8")


def _load(folder: Path) -> tuple[list[Entry], Counts] | None:
    """The index that is kept in a folder; None if there is none, or it is not whole."""
    import pyarrow
    from pyarrow import parquet

    try:
        facts: Mapping[str, Any] = json.loads((folder / _FACTS).read_text(encoding="utf-8"))
        entries = [Entry(**row) for row in parquet.read_table(folder / _ROWS).to_pylist()]
        counts = Counts(facts["rows"], Counter(facts["broken"]), dict(facts["examples"]))
        whole = all((folder / name / "state.json").is_file() for name in facts["streamed"])
        return (entries, counts) if whole and len(entries) == facts["kept"] else None
    except (OSError, ValueError, KeyError, TypeError, pyarrow.ArrowException):  # left half-written, or by older code
        return None
