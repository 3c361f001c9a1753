"""Which files a table of a dataset consists of: as the `datasets` library says, or else as their names do."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from specs_lab.core.errors import Fault, UserError, suggest
from specs_lab.core.hub import snapshot
from specs_lab.problems.places import check_tables

if TYPE_CHECKING:
    from datasets import DatasetBuilder

Splits = tuple[str, dict[str, list[str]]]
"""The kind of a dataset's files, and the files of each split."""

_KINDS = ("parquet", "json", "arrow", "csv")
_SUFFIXES = {".parquet": "parquet", ".json": "json", ".jsonl": "json"}
_SHARD = re.compile(r"(.*)-\d{5}-of-(\d{5})(\.\w+)")
_AT_COMMIT = re.compile(r"hf://datasets/([^@]+)@[^/]+/(.+)")
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


def files_of(ref: TableRef, *, streaming: bool) -> tuple[str, list[str]]:
    """The kind of a table, and its files; unless it is streamed, those of the hub are downloaded.

    Raises:
        UserError: If there is no such table, split or configuration, or a file of it lies elsewhere.
    """
    if ref.path:
        return _local_files(ref, Path(ref.path))
    if streaming and not _is_offline():
        kind, files = _of_split(ref, *_splits_of(_hub_builder(ref)))
        _names_in_repository(ref, files)
        return kind, files
    return _downloaded(ref)


def _local_files(ref: TableRef, path: Path) -> tuple[str, list[str]]:
    """The kind of a local table, and the files of its split."""
    if path.is_file():
        if path.suffix not in _SUFFIXES:
            fix = f"give a folder, or a file that ends in {', '.join(_SUFFIXES)}"
            raise UserError([Fault(str(path), f"'{path.suffix}' is no known kind of file", fix)])
        check_tables(ref.name, path.resolve().parent, [str(path)])  # a link that somebody names is meant
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
    check_tables(ref.name, path, files)
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
    names = _names_in_repository(ref, files)
    folder = snapshot(ref.repo, ref.revision, "dataset", ["README.md", *names])
    found = [str(folder / name) for name in names]
    check_tables(ref.name, folder, found)
    return kind, found


def _names_in_repository(ref: TableRef, files: list[str]) -> list[str]:
    """The names of files of the hub within their repository.

    Raises:
        UserError: If one is elsewhere: a dataset's card can name any file and any address.
    """
    found = [_AT_COMMIT.fullmatch(file) for file in files]
    names = [one[2] for one in found if one is not None and one[1] == ref.repo and ".." not in one[2].split("/")]
    if len(names) < len(files):
        raise UserError([Fault(ref.name, "its card names files that are not in it", "name the files of the split")])
    return names


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
