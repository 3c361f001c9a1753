"""Tables of real datasets, by the `datasets` library: rows as they are, pictures undecoded, no code of a dataset run.

A table is a local folder or file (parquet, JSON, JSON lines), laid out as a repository of the hub is, or a repository
of the hub at a commit. Read map-style it is memory-mapped Arrow with random access; streamed, only as much of it is
read as is asked for.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from specs_lab.core.errors import Fault, UserError
from specs_lab.core.hub import snapshot
from specs_lab.core.secrets import without_secrets
from specs_lab.problems.archives import unpacked
from specs_lab.problems.identity import content_hash
from specs_lab.problems.layout import TableRef, files_of

if TYPE_CHECKING:
    import pyarrow
    from datasets import Dataset, IterableDataset

__all__ = ["Row", "Table", "TableRef", "iterate", "open_table", "picture_folder", "plain_rows", "streamed"]

Row = dict[str, Any]
_ROWS_AT_ONCE = 16


class Table:
    """A table with random access: memory-mapped, so of any size.

    Args:
        data: The rows.
        folder: Where relative paths of pictures start.
    """

    def __init__(self, data: Dataset, folder: Path) -> None:
        self._data = data.with_format("arrow")
        self.folder = folder

    @property
    def columns(self) -> list[str]:
        """Names of the columns."""
        return list(self._data.column_names)

    def __len__(self) -> int:
        return len(self._data)

    def __getitem__(self, index: int) -> Row:
        if not 0 <= index < len(self):
            raise IndexError(index)
        return plain_rows(self._data[index : index + 1])[0]  # pyright: ignore[reportArgumentType]

    def __iter__(self) -> Iterator[Row]:
        for start in range(0, len(self), _ROWS_AT_ONCE):
            yield from plain_rows(self._data[start : start + _ROWS_AT_ONCE])  # pyright: ignore[reportArgumentType]


def open_table(ref: TableRef) -> Table:
    """Opens a table for random access; of a streamed one the rows up to its limit are read into memory.

    Raises:
        UserError: If there is no such table, split or configuration, or a file cannot be read.
    """
    from datasets import Dataset

    if ref.streaming:
        if ref.limit is None:
            raise UserError([Fault(ref.name, "is streamed without an end", "set a limit, or read it map-style")])
        parts = list(streamed(ref))
        if not parts:
            raise UserError([Fault(ref.name, f"has no rows in split '{ref.split}'", "choose another split")])
        import pyarrow

        return Table(Dataset(pyarrow.concat_tables(parts, promote_options="default")), picture_folder(ref))
    with _explained(ref):
        data = _load(ref, streaming=False)
        if ref.limit is not None and ref.limit < len(data):  # pyright: ignore[reportArgumentType]
            data = data.select(range(ref.limit))  # pyright: ignore[reportAttributeAccessIssue]
        return Table(data, picture_folder(ref))  # pyright: ignore[reportArgumentType]


def iterate(ref: TableRef) -> Iterator[Row]:
    """The rows of a table in order, up to its limit; streamed, no more is read than is taken.

    Raises:
        UserError: As :func:`open_table`.
    """
    if not ref.streaming:
        yield from open_table(ref)
        return
    for part in streamed(ref):
        yield from plain_rows(part)


def streamed(ref: TableRef) -> Iterator[pyarrow.Table]:
    """The rows of a streamed table up to its limit, each as a table of one row.

    Raises:
        UserError: As :func:`open_table`.
    """
    with _explained(ref):
        data = _load(ref, streaming=True).with_format("arrow")
        rows = (part.slice(i, 1) for part in data for i in range(part.num_rows))  # pyright: ignore[reportAttributeAccessIssue]
        yield from islice(rows, ref.limit)


def plain_rows(part: pyarrow.Table) -> list[Row]:
    """Rows as plain values; pictures stay mappings of bytes and path, JSON of mixed types becomes what it says."""
    rows = part.to_pylist()
    mixed = {field.name: field.type for field in part.schema if "json" in str(field.type)}
    for row in rows if mixed else ():
        row.update({name: _unpack_json(row[name], kind) for name, kind in mixed.items()})
    return rows


def _unpack_json(value: Any, kind: pyarrow.DataType) -> Any:
    """The value of a column in which `datasets` keeps values of different types as JSON text."""
    import pyarrow

    if value is None:
        return None
    if isinstance(kind, pyarrow.JsonType):
        return json.loads(value)
    if isinstance(kind, pyarrow.StructType):
        return {one.name: _unpack_json(value[one.name], one.type) for one in kind}
    if isinstance(kind, pyarrow.ListType | pyarrow.LargeListType):
        return [_unpack_json(one, kind.value_type) for one in value]
    return value


def picture_folder(ref: TableRef) -> Path:
    """Where relative paths of pictures start; archives are unpacked for it, once.

    Raises:
        UserError: If an archive is not there or cannot be unpacked, or pictures lie loose on the hub.
    """
    if ref.path:
        root = Path(ref.path)
        root = root if root.is_dir() else root.parent
    elif ref.archives:
        root = snapshot(ref.repo, ref.revision, "dataset", ref.archives)
    elif ref.images:
        fix = "`hf download --repo-type dataset --local-dir` it, and name the folder by `path`"
        raise UserError([Fault(ref.name, "loose pictures cannot be read from the hub, only those of archives", fix)])
    else:
        return _cache() / "pictures" / "none"  # such a table holds its pictures; whatever it names is not there
    # A local copy in which somebody has unpacked them already is taken as it is.
    packed = [root / name for name in ref.archives if (root / name).is_file() or not ref.path]
    return (unpacked(packed) if packed else root) / ref.images


def _load(ref: TableRef, *, streaming: bool) -> Dataset | IterableDataset:
    from datasets import load_dataset

    kind, files = files_of(ref, streaming=streaming)
    return load_dataset(
        kind,
        data_files={ref.split: files},
        split=ref.split,
        streaming=streaming,
        cache_dir=_arrow_folder([] if streaming or not ref.path else files),
    )


def _cache() -> Path:
    from specs_lab.core.cache import cache_folder

    return Path(cache_folder())


def _arrow_folder(files: Sequence[str]) -> str:
    """Where `datasets` keeps tables as Arrow: of local files by content, as it tells these by path and time only."""
    place = _cache() / "datasets"
    if files:
        hashes = [content_hash(Path(file)) for file in files]
        place /= hashlib.sha256("".join(hashes).encode()).hexdigest()[:24]
    return str(place)


@contextmanager
def _explained(ref: TableRef) -> Iterator[None]:
    """Says of the library's errors what they mean for who named the table."""
    import pyarrow
    from datasets.exceptions import DatasetGenerationError, DatasetsError

    try:
        yield
    except (DatasetGenerationError, pyarrow.ArrowException) as error:
        cause = without_secrets(" ".join(str(error.__cause__ or error).split()))[:300]
        fix = "download it anew, or repair the file"
        raise UserError([Fault(ref.name, f"split '{ref.split}' cannot be read ({cause})", fix)]) from error
    except ConnectionError as error:
        fix = "download it where there is a network (`hf download --repo-type dataset`), or name a local copy by `path`"
        raise UserError([Fault(ref.name, "is not here, and the hub cannot be reached", fix)]) from error
    except (DatasetsError, FileNotFoundError, ValueError, RuntimeError) as error:  # the last for scripts
        said = without_secrets(" ".join(str(error).split()))[:300]
        fix = "choose one that there is, or name the files of the split"
        raise UserError([Fault(ref.name, f"cannot be opened ({said})", fix)]) from error
