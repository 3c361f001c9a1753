"""Reads a dataset from end to end: which rows can be used, where each belongs, and why the others cannot."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from specs_lab.core.errors import Fault, UserError
from specs_lab.core.pictures import UnreadablePicture, picture_bytes
from specs_lab.core.progress import Progress
from specs_lab.problems.base import Split
from specs_lab.problems.readers.base import READERS, Place
from specs_lab.problems.rows import BrokenRow, ProblemRow, decoded, picture_sizes
from specs_lab.problems.shares import shared_out, tables_of
from specs_lab.problems.tables import Row, Table, TableRef, open_table, picture_folder, plain_rows, streamed

_CODE = tuple(f"specs_lab.problems.{name}" for name in ("layout", "readers", "rows", "scanning", "shares", "tables"))
SEEN = "seen_in_another_split"
"""The reason of rows that are given up since their picture is in the training split too, or in another."""


@dataclass(frozen=True, kw_only=True)
class IndexSpec:
    """All that an index depends on.

    Attributes:
        source: Name of the data for people.
        tables: The dataset's splits that are read, as (name, table).
        splits: Our split to the dataset's, as pairs.
        identity: What names the data's content.
        reader: Name of the reader.
        columns: Names of columns by role, as pairs.
        open_answers: Keep answers that only a judge can grade.
        limit: Stop after so many usable rows of each table; None reads all.
        max_pixels_total: Most pixels of a row's pictures together.
        min_side: Least width and height of a picture.
        max_images: Most pictures of a row.
        max_question_characters: Longest question.
        decode_all: Decode every picture, so that none can turn out broken in the middle of a training.
    """

    source: str
    tables: tuple[tuple[str, TableRef], ...]
    splits: tuple[tuple[str, str], ...]
    identity: tuple[tuple[str, str], ...]
    reader: str
    columns: tuple[tuple[str, str], ...] = ()
    open_answers: bool = False
    limit: int | None = None
    max_pixels_total: int | None = None
    min_side: int = 1
    max_images: int | None = None
    max_question_characters: int | None = None
    decode_all: bool = True

    def key(self) -> str:
        """A hash of it all and of the code that reads rows."""
        from specs_lab.core.fingerprint import fingerprint

        code = fingerprint([*_CODE, "specs_lab.core.pictures", "specs_lab.rewards"])
        return hashlib.sha256(json.dumps([asdict(self), code], sort_keys=True).encode()).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class Entry:
    """A usable row.

    Attributes:
        id: The problem's name, unique within the source.
        table: The dataset's split.
        number: Number of the row there.
        at: Its position in the opened table, which of a streamed one holds the usable rows only.
        family: Its family.
        split: Our split.
        kind: Type of its answer.
        images: How many pictures it has.
        pixels: Pixels of all its pictures.
        characters: Length of its question.
    """

    id: str
    table: str
    number: int
    at: int
    family: str
    split: Split
    kind: str
    images: int
    pixels: int
    characters: int


@dataclass
class Counts:
    """What became of the rows.

    Attributes:
        rows: How many were read.
        broken: How many cannot be used, by reason.
        examples: The first of each reason: which row, and what is wrong with it.
    """

    rows: int = 0
    broken: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)

    def add(self, reason: str, where: str, what: str) -> None:
        """Counts a row that cannot be used."""
        self.broken[reason] += 1
        self.examples.setdefault(reason, f"{where}: {what}")


@dataclass
class _Found:
    """A usable row, before it is known which split it belongs to."""

    entry: dict[str, Any]
    keys: list[str]


def build(spec: IndexSpec, folder: Path, progress: Progress) -> tuple[list[Entry], Counts]:
    """Reads the data of an index.

    Args:
        spec: What the index is made of.
        folder: Where usable rows of streamed tables are kept.
        progress: Told of the rows that are read.

    Returns:
        The usable rows, and what became of all rows.

    Raises:
        UserError: If the data cannot be read, or no row of them can be used.
    """
    counts, found = Counts(), []
    ids: set[str] = set()
    for name, ref in spec.tables:
        found += _scan(spec, name, ref, folder, counts, ids, progress)
    serves = tables_of(dict(spec.splits))
    splits = shared_out([one.keys for one in found], [one.entry["table"] for one in found], serves)
    entries = []
    for one, split in zip(found, splits, strict=True):
        if split is None:
            counts.add(SEEN, one.entry["id"], "its picture is in another split too")
        else:
            entries.append(Entry(**one.entry, split=split))
    if not entries:
        reasons = ", ".join(f"{name}: {n}" for name, n in counts.broken.most_common())
        what = f"none of its {counts.rows} rows can be used ({reasons or 'there are none'})"
        example = next(iter(counts.examples.values()), "choose another split")
        raise UserError([Fault(spec.source, what, f"look at the first one, {example}" if counts.rows else example)])
    return entries, counts


def _scan(
    spec: IndexSpec, name: str, ref: TableRef, folder: Path, counts: Counts, ids: set[str], progress: Progress
) -> Iterator[_Found]:
    """The usable rows of a table."""
    if ref.streaming:
        yield from _scan_stream(spec, name, ref, folder, counts, ids, progress)
        return
    table = open_table(ref)
    kept = 0
    with progress.task(f"reading {spec.source} ({name})", len(table)) as advance:
        for number, row in enumerate(table):
            if spec.limit is not None and kept >= spec.limit:
                break
            found = _take(spec, name, row, number, number, table.folder, counts, ids)
            advance(note=f"{sum(counts.broken.values())} left out")
            if found is not None:
                kept += 1
                yield found


def _scan_stream(
    spec: IndexSpec, name: str, ref: TableRef, folder: Path, counts: Counts, ids: set[str], progress: Progress
) -> Iterator[_Found]:
    """The first usable rows of a streamed table, which are kept on disk: others will not be fetched again."""
    import pyarrow
    from datasets import Dataset

    start, parts = picture_folder(ref), []
    with progress.task(f"reading {spec.source} ({name})", spec.limit or 0) as advance:
        for number, part in enumerate(streamed(ref)):
            found = _take(spec, name, plain_rows(part)[0], number, len(parts), start, counts, ids)
            if found is None:
                continue
            parts.append(part)
            advance(note=f"{sum(counts.broken.values())} left out")
            yield found
            if len(parts) == spec.limit:
                break
    if parts:
        data = Dataset(pyarrow.concat_tables(parts, promote_options="default"))
        data.save_to_disk(str(folder / _slug(name)))


def kept_rows(folder: Path, name: str, ref: TableRef) -> Table:
    """The usable rows of a streamed table."""
    from datasets import Dataset

    return Table(Dataset.load_from_disk(str(folder / _slug(name))), picture_folder(ref))


def _slug(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()[:12]


def _take(
    spec: IndexSpec, name: str, raw: Row, number: int, at: int, start: Path, counts: Counts, ids: set[str]
) -> _Found | None:
    counts.rows += 1
    try:
        row = read_row(spec, raw, name, number)
        if row.id in ids:
            raise BrokenRow("repeated_id", f"an earlier row has the id '{row.id}' too")
        sizes = _checked_sizes(spec, row, start)
    except BrokenRow as broken:
        counts.add(broken.reason, f"row {number} of {name}", broken.what)
        return None
    ids.add(row.id)
    kind = _kind(row)
    entry = {
        "id": row.id,
        "table": name,
        "number": number,
        "at": at,
        "family": row.family or kind,
        "kind": kind,
        "images": len(row.images),
        "pixels": sum(width * height for width, height in sizes),
        "characters": len(row.question),
    }
    return _Found(entry, _keys(row, start))


def read_row(spec: IndexSpec, raw: Row, table: str, number: int) -> ProblemRow:
    """The problem of a row, under a name that is unique within the source.

    Raises:
        BrokenRow: If it cannot be used.
    """
    place = Place(number, dict(spec.columns), spec.open_answers)
    row = READERS.get(spec.reader)(raw, place)
    return replace(row, id=f"{spec.reader}/{table}/{row.id}")


def _kind(row: ProblemRow) -> str:
    from specs_lab.rewards.grader import read_gold, terms_of

    return read_gold(row.answer, row.kind, terms_of(row.choices, row.precision, row.unit, "")).name


def _checked_sizes(spec: IndexSpec, row: ProblemRow, start: Path) -> list[tuple[int, int]]:
    """(width, height) of a row's pictures.

    Raises:
        BrokenRow: If the row is too large in any way, or a picture cannot be read.
    """
    longest, most = spec.max_question_characters, spec.max_images
    if longest is not None and len(row.question) > longest:
        raise BrokenRow("too_long", f"its question has {len(row.question)} characters; {longest} is the most")
    if most is not None and len(row.images) > most:
        raise BrokenRow("too_many_images", f"has {len(row.images)} pictures; {most} is the most")
    sizes = picture_sizes(row.images, start)
    small = [size for size in sizes if min(size) < spec.min_side]
    if small:
        raise BrokenRow(
            "too_small", f"a picture has {small[0][0]} x {small[0][1]} pixels; {spec.min_side} is the least"
        )
    pixels = sum(width * height for width, height in sizes)
    if spec.max_pixels_total is not None and pixels > spec.max_pixels_total:
        raise BrokenRow("too_many_pixels", f"its pictures have {pixels} pixels; {spec.max_pixels_total} is the most")
    if spec.decode_all:
        decoded(row.images, start)
    return sizes


def _keys(row: ProblemRow, start: Path) -> list[str]:
    """What must not be in two splits: the pictures, or of a row without one the question."""
    if not row.images:
        return [hashlib.sha256(" ".join(row.question.lower().split()).encode()).hexdigest()]
    try:
        return [hashlib.sha256(picture_bytes(one, start)).hexdigest() for one in row.images]
    except UnreadablePicture as error:
        raise BrokenRow("unreadable_image", f"a picture {error}") from error
