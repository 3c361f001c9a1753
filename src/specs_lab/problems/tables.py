"""Tables of real datasets, by the `datasets` library: rows as they are, pictures undecoded, no code of a dataset run.

A table is a local folder or file (parquet, JSON, JSON lines), laid out as a repository of the hub is, or a repository
of the hub at a commit. Read map-style it is memory-mapped Arrow with random access; streamed, only as much of it is
read as is asked for.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from specs_lab.core.errors import Fault, UserError, suggest
from specs_lab.core.hub import snapshot
from specs_lab.problems.archives import unpacked

if TYPE_CHECKING:
    import pyarrow
    from datasets import Dataset, DatasetBuilder, IterableDataset

Row = dict[str, Any]
Splits = tuple[str, dict[str, list[str]]]
"""The kind of a dataset's files, and the files of each split."""

_KINDS = ("parquet", "json", "arrow", "csv")
_SUFFIXES = {".parquet": "parquet", ".json": "json", ".jsonl": "json"}
_ROWS_AT_ONCE = 16
_SHARD = re.compile(r"(.*)-\d{5}-of-(\d{5})(\.\w+)")
_AT_COMMIT = re.compile(r"hf://datasets/[^@]+@[^/]+/(.+)")
_WORD = re.compile(r"[a-z]+")
_SPLIT_WORDS = {
    "train": {"train", "training"},
    "validation": {"validation", "valid", "val", "dev"},
    "test": {"test", "testing", "eval", "evaluation"},
}
"""As the `datasets` library tells splits."""
_DATA = ("*.parquet", "*.json", "*.jsonl", "*.arrow", "*.csv", "README.md")


@dataclass(frozen=True, kw_only=True)
class TableRef:
    """Which table.

    Attributes:
        repo: ``owner/name`` of a dataset on the hub.
        revision: Its commit, see :func:`specs_lab.core.hub.commit_of`.
        path: A local copy, or a folder or file of one's own; comes before ``repo``.
        config: The dataset's configuration, or sub-folder; None: its default.
        split: The split; of a single file it is all of it.
        files: Patterns of the split's files, for datasets whose layout does not tell.
        archives: Zip or tar files in it that hold the pictures.
        images: Sub-folder where the paths of pictures start; of the archives' content if there are archives.
        streaming: Read from the start only as far as needed, and never load the rest.
        limit: So many rows of the start; None: all.
    """

    repo: str = ""
    revision: str = ""
    path: str = ""
    config: str | None = None
    split: str = "train"
    files: tuple[str, ...] = ()
    archives: tuple[str, ...] = ()
    images: str = ""
    streaming: bool = False
    limit: int | None = None

    @property
    def name(self) -> str:
        """What people know it by."""
        return self.path or f"{self.repo}@{self.revision[:12]}"


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
        UserError: If an archive is not there or cannot be unpacked.
    """
    if ref.path:
        root = Path(ref.path)
        root = root if root.is_dir() else root.parent
    elif ref.archives:
        root = snapshot(ref.repo, ref.revision, "dataset", ref.archives)
    else:
        return Path(ref.images or ".")
    # A local copy in which somebody has unpacked them already is taken as it is.
    packed = [root / name for name in ref.archives if (root / name).is_file() or not ref.path]
    return (unpacked(packed) if packed else root) / ref.images


def _load(ref: TableRef, *, streaming: bool) -> Dataset | IterableDataset:
    from datasets import load_dataset

    if ref.path:
        kind, files = _local_files(ref, Path(ref.path))
    elif streaming and not _is_offline():
        kind, files = _of_split(ref, *_splits_of(_hub_builder(ref)))
    else:
        kind, files = _downloaded(ref)
    return load_dataset(
        kind, data_files={ref.split: files}, split=ref.split, streaming=streaming, cache_dir=_arrow_folder()
    )


def _arrow_folder() -> str:
    from specs_lab.cli.resolvers import cache_folder

    return str(Path(cache_folder()) / "datasets")


def _local_files(ref: TableRef, path: Path) -> tuple[str, list[str]]:
    """The kind of a local table, and the files of its split."""
    if path.is_file():
        if path.suffix not in _SUFFIXES:
            fix = f"give a folder, or a file that ends in {', '.join(_SUFFIXES)}"
            raise UserError([Fault(str(path), f"'{path.suffix}' is no known kind of file", fix)])
        return _SUFFIXES[path.suffix], [str(path)]
    if not path.is_dir():
        raise UserError([Fault(str(path), "there is no such folder or file", "give the path of a local copy")])
    try:
        found = _splits_of(_local_builder(ref, path))
    except ValueError:  # pictures in some splits, tables in others: so they lie beside each other
        if ref.files or not (found := _beside_pictures(ref, path)):
            raise
    else:
        if found[0] not in _KINDS and not ref.files:
            found = _beside_pictures(ref, path) or found
    kind, files = _of_split(ref, *found)
    _check_complete(ref, files)
    return kind, files


def _beside_pictures(ref: TableRef, folder: Path) -> Splits | None:
    """The tables in a folder of pictures, which the library takes for a dataset of nothing but pictures.

    Their splits are told by words in their paths; if there are none, all is for training.
    """
    place = folder / ref.config if ref.config else folder
    tables = [file for file in sorted(place.rglob("*")) if file.suffix in _SUFFIXES and file.is_file()]
    kinds = {_SUFFIXES[file.suffix] for file in tables}
    if len(kinds) != 1:
        return None
    splits: dict[str, list[str]] = {}
    for file in tables:
        words = set(_WORD.findall(file.relative_to(place).as_posix().lower()))
        named = [split for split, synonyms in _SPLIT_WORDS.items() if words & synonyms]
        for split in named:
            splits.setdefault(split, []).append(str(file))
    return kinds.pop(), splits or {"train": list(map(str, tables))}


def _local_builder(ref: TableRef, folder: Path) -> DatasetBuilder:
    from datasets import load_dataset_builder

    place = str(folder.resolve())
    if ref.files:
        return load_dataset_builder(place, data_files={ref.split: list(ref.files)})
    try:
        return load_dataset_builder(place, ref.config)
    except ValueError:
        if ref.config is None or not (folder / ref.config).is_dir():
            raise
        return load_dataset_builder(place, data_dir=ref.config)


def _hub_builder(ref: TableRef) -> DatasetBuilder:
    from datasets import load_dataset_builder

    files = {ref.split: list(ref.files)} if ref.files else None
    return load_dataset_builder(ref.repo, ref.config, revision=ref.revision, data_files=files)


def _is_offline() -> bool:
    from huggingface_hub import constants

    return constants.HF_HUB_OFFLINE


def _downloaded(ref: TableRef) -> tuple[str, list[str]]:
    """The files of a table of the hub, in the local cache; only those of the split are fetched."""
    if _is_offline():
        return _local_files(ref, snapshot(ref.repo, ref.revision, "dataset", [*_DATA, *ref.files]))
    kind, files = _of_split(ref, *_splits_of(_hub_builder(ref)))
    names = [found[1] if (found := _AT_COMMIT.fullmatch(file)) else file for file in files]
    folder = snapshot(ref.repo, ref.revision, "dataset", ["README.md", *names])
    return kind, [str(folder / name) for name in names]


def _splits_of(builder: DatasetBuilder) -> Splits:
    found: Mapping[Any, Any] = builder.config.data_files or {}  # pyright: ignore[reportAssignmentType]
    files = {str(split): [str(file) for file in names] for split, names in found.items()}
    return type(builder).__module__.rpartition(".")[2], files


def _of_split(ref: TableRef, kind: str, files: Mapping[str, list[str]]) -> tuple[str, list[str]]:
    """The kind of a dataset, and the files of the wanted split.

    Raises:
        UserError: If it is of another kind, or has no such split.
    """
    if kind not in _KINDS or not files:
        fix = "give parquet, JSON or JSON lines, or name the files"
        raise UserError([Fault(ref.name, f"holds no table that can be read (it is of kind '{kind}')", fix)])
    if ref.split not in files:
        raise UserError([Fault(ref.name, f"has no split '{ref.split}'", suggest(ref.split, files))])
    return kind, files[ref.split]


def _check_complete(ref: TableRef, files: list[str]) -> None:
    """Refuses a table of which some parts were never downloaded.

    Raises:
        UserError: If ``name-00000-of-00004`` has not all its four parts.
    """
    shards: dict[tuple[str, str, str], int] = {}
    for file in files:
        if match := _SHARD.fullmatch(Path(file).name):
            key = (str(Path(file).parent / match[1]), match[2], match[3])
            shards[key] = shards.get(key, 0) + 1
    faults = [
        Fault(ref.name, f"has {count} of the {int(total)} parts of '{Path(name).name}'", "download the others too")
        for (name, total, _), count in sorted(shards.items())
        if count < int(total)
    ]
    if faults:
        raise UserError(faults)


@contextmanager
def _explained(ref: TableRef) -> Iterator[None]:
    """Says of the library's errors what they mean for who named the table."""
    import pyarrow
    from datasets.exceptions import DatasetGenerationError, DatasetsError

    try:
        yield
    except (DatasetGenerationError, pyarrow.ArrowException) as error:
        cause = " ".join(str(error.__cause__ or error).split())[:300]
        fix = "download it anew, or repair the file"
        raise UserError([Fault(ref.name, f"split '{ref.split}' cannot be read ({cause})", fix)]) from error
    except ConnectionError as error:
        fix = "download it where there is a network (`hf download --repo-type dataset`), or name a local copy by `path`"
        raise UserError([Fault(ref.name, "is not here, and the hub cannot be reached", fix)]) from error
    except (DatasetsError, FileNotFoundError, ValueError) as error:
        said = " ".join(str(error).split())[:300]
        fix = "choose one that there is, or name the files of the split"
        raise UserError([Fault(ref.name, f"cannot be opened ({said})", fix)]) from error
