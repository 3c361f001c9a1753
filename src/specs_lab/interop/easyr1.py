"""EasyR1's RL data (``images``, ``problem``, ``answer``) as a local table of problems, for ``problems=local``."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from specs_lab.core.errors import Fault, UserError
from specs_lab.core.pictures import picture_bytes
from specs_lab.data.files import as_list, check_markers, valid_text
from specs_lab.problems.rows import BrokenRow, decoded

if TYPE_CHECKING:
    from datasets import Features

KINDS = (".parquet", ".jsonl", ".json")
FIXES = {
    "not_json": "write one JSON object a line, in UTF-8",
    "no_question": "add the question, or name its column by --prompt-key",
    "no_answer": "add the gold answer, or name its column by --answer-key",
    "bad_value": "write text or a number",
    "image_markers": "give as many pictures as the question has <image> marks, or leave all marks out",
    "unreadable_image": "give the bytes of a picture, or its path relative to the folder that --images names",
    "other_media": "leave out rows with videos: there is no place for them",
    "repeated_id": "give each row an id of its own, or none at all",
}
"""What is wrong with rows, by the name that it is counted under, and what to do about it."""
_SPLITS = {"train": "train", "test": "test", "validation": "validation", "val": "validation", "dev": "validation"}
_SHARD = re.compile(r"(.+)-(\d{5})-of-(\d{5})")


@dataclass(frozen=True, kw_only=True)
class Keys:
    """Names of columns, as EasyR1's configuration has them.

    Attributes:
        prompt: The question.
        answer: The gold answer.
        images: The pictures.
    """

    prompt: str = "problem"
    answer: str = "answer"
    images: str = "images"


def find_splits(path: Path) -> dict[str, list[Path]]:
    """The files of each split of a file, which is one split, or of a folder as EasyR1's data sets are laid out.

    Raises:
        UserError: If there is no such place, no file in it, files of no split, or some part of a split is missing.
    """
    if path.is_file():
        return {_split_of(path) or "train": [path]}
    files = sorted(p for pattern in ("*", "*/*") for p in path.glob(pattern) if p.suffix in KINDS and p.is_file())
    if not files:
        raise UserError(
            [Fault(str(path), f"holds no {', '.join(KINDS)} file", "give EasyR1's data, a file or a folder")]
        )
    if len(files) == 1:
        return {_split_of(files[0]) or "train": files}
    splits: dict[str, list[Path]] = {}
    for file in files:
        if split := _split_of(file):
            splits.setdefault(split, []).append(file)
    if not splits:
        names = ", ".join(file.name for file in files[:5])
        fix = "name the files after their split, e.g. train.parquet, or give one file"
        raise UserError([Fault(str(path), f"cannot tell which split its files are: {names}", fix)])
    _check_complete(path, [file for files in splits.values() for file in files])
    return splits


def _split_of(file: Path) -> str | None:
    return _SPLITS.get(re.split(r"[-_.]", file.name.lower())[0])


def _check_complete(path: Path, files: Sequence[Path]) -> None:
    """Refuses splits of which some parts were never downloaded."""
    shards: dict[tuple[str, int], int] = {}
    for file in files:
        if match := _SHARD.fullmatch(file.stem):
            key = (match[1], int(match[3]))
            shards[key] = shards.get(key, 0) + 1
    faults = [
        Fault(str(path), f"has {count} of the {total} parts of '{name}'", "download the others too")
        for (name, total), count in sorted(shards.items())
        if count < total
    ]
    if faults:
        raise UserError(faults)


def problem_features() -> Features:
    """The columns of a table of problems."""
    from datasets import Features, Image, List, Value

    return Features(
        {
            "id": Value("string"),
            "question": Value("string"),
            "answer": Value("string"),
            "images": List(Image()),
        }
    )


def to_problem(row: Mapping[str, Any], number: int, folder: Path, ids: set[str], keys: Keys) -> dict[str, Any]:
    """Makes a row of a table of problems; each picture is decoded once, and kept as the file that it is.

    Args:
        row: The row.
        number: Names it if it has no ``id``.
        folder: Where paths of pictures start.
        ids: Ids of earlier rows; this one's is added.
        keys: Names of columns.

    Raises:
        BrokenRow: If it cannot be used.
    """
    if as_list(row.get("videos")):
        raise BrokenRow("other_media", "has videos")
    question, answer = _text(row, keys.prompt), _text(row, keys.answer)
    if not question.replace("<image>", "").strip():
        raise BrokenRow("no_question", f"has no '{keys.prompt}', or an empty one")
    if not answer.strip():
        raise BrokenRow("no_answer", f"has no '{keys.answer}', or an empty one")
    images = as_list(row.get(keys.images)) or as_list(row.get("image"))
    check_markers(question, len(images))
    decoded(images, folder)
    name = _text(row, "id") or str(number)
    if name in ids:
        raise BrokenRow("repeated_id", f"an earlier row has the id '{name}' too")
    ids.add(name)
    kept = [{"bytes": picture_bytes(one, folder), "path": None} for one in images]
    return {"id": name, "question": question, "answer": answer, "images": kept}


def _text(row: Mapping[str, Any], key: str) -> str:
    value = row.get(key)
    if isinstance(value, bool) or not isinstance(value, str | int | float | None):
        raise BrokenRow("bad_value", f"its '{key}' is no text")
    return "" if value is None else valid_text(str(value), key)
