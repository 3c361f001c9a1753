"""Reads training pairs that a user brings: parquet or JSON lines in the conversational form, or close to it.

Each row has ``prompt`` and ``chosen`` (or ``completion``), texts or lists of messages; optionally ``rejected``, one
picture under ``images`` or ``image``, and ``id``, ``answer``, ``cell``, ``family``, ``source`` and ``pollution``.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from specs_lab.core.errors import Fault, UserError
from specs_lab.core.pictures import IMAGE_MARKER, UnreadablePicture, decode_picture
from specs_lab.data.records import PairRecord

_TEXTS = ("cell", "family", "answer", "source", "pollution")
_COLUMNS = ("id", "images", "image", "prompt", "chosen", "completion", "rejected", *_TEXTS)
_FAULTS_SHOWN = 20
_ROWS_AT_ONCE = 32

_FIXES = {
    "not_json": "write one JSON object a line, in UTF-8",
    "no_prompt": "add the question as text or as one message of the user",
    "no_chosen": "add the response to learn, under chosen or completion",
    "no_rejected": "add the response to turn away from, or train without rejected sides",
    "role_order": "give one user message as prompt and one assistant message a side; put what a system message says at "
    "the start of the prompt",
    "bad_message": "write messages as {role, content}, and content as text or as parts of type text or image",
    "several_images": "give one picture a row: more are not supported yet",
    "image_markers": "give as many pictures as the prompt has places for, or no places at all",
    "unreadable_image": "give the bytes of a picture, or its path relative to the data file's folder",
    "same_sides": "give sides that differ, or leave rejected out",
    "repeated_id": "give each row an id of its own, or none at all",
    "bad_value": "write text or a number",
}
"""What is wrong with rows, by the name that it is counted under, and what to do about it."""


class _Broken(Exception):
    """A row that cannot be used."""

    def __init__(self, reason: str, what: str) -> None:
        super().__init__(what)
        self.reason = reason
        self.what = what


def read_user_pairs(
    path: Path, limit: int | None = None, *, needs_rejected: bool = False, skip_broken: bool = False
) -> tuple[list[PairRecord], Counter[str]]:
    """Reads pairs row by row, so that of the file only a few rows are in memory beside the pairs.

    Whether sides follow a format and are right is not known from the file: those attributes are None.

    Args:
        path: A ``.parquet`` or ``.jsonl`` file.
        limit: Stop after so many pairs; None reads all.
        needs_rejected: A row without a rejected side is broken.
        skip_broken: Leave rows out that cannot be used, and count them by reason, instead of raising.

    Returns:
        The pairs, and counts: ``rows`` that were read, and ``broken/<reason>``.

    Raises:
        UserError: With the first 20 broken rows and the number of the others, unless they are to be left out; or if
            the file cannot be read at all, lacks a column, or has no usable row.
    """
    records: list[PairRecord] = []
    faults: list[Fault] = []
    counts: Counter[str] = Counter()
    ids: set[str] = set()
    for where, number, row in _rows(path):
        if limit is not None and len(records) >= limit:
            break
        counts["rows"] += 1
        try:
            if isinstance(row, _Broken):
                raise row
            records.append(_record(row, number, path.parent, ids, needs_rejected))
        except _Broken as broken:
            counts[f"broken/{broken.reason}"] += 1
            if len(faults) < _FAULTS_SHOWN:
                faults.append(Fault(f"{path}: {where} {number}", broken.what, _FIXES[broken.reason]))
    if faults and not (skip_broken and records):
        raise UserError([*faults, *_others(path, counts, len(faults))])
    if not counts["rows"] and limit != 0:
        raise UserError([Fault(str(path), "has no rows", "give a file with a row for each pair")])
    return records, counts


def _others(path: Path, counts: Counter[str], shown: int) -> list[Fault]:
    """A last fault that stands for the broken rows which are not listed."""
    broken = {name.removeprefix("broken/"): n for name, n in counts.items() if name.startswith("broken/")}
    more = sum(broken.values()) - shown
    if not more:
        return []
    reasons = ", ".join(f"{name}: {n}" for name, n in sorted(broken.items()))
    fix = "mend the rows, or have broken rows left out"
    return [Fault(str(path), f"{more} more rows of {counts['rows']} are broken (in all: {reasons})", fix)]


def _rows(path: Path) -> Iterator[tuple[str, int, Mapping[str, Any] | _Broken]]:
    """What rows are called in this file, their number from 1, and the rows."""
    if not path.is_file():
        raise UserError([Fault(str(path), "there is no such file", "give the path of a .parquet or .jsonl file")])
    if path.suffix == ".parquet":
        return _parquet_rows(path)
    if path.suffix == ".jsonl":
        return _json_rows(path)
    raise UserError([Fault(str(path), f"'{path.suffix}' is no known kind of file", "give a .parquet or .jsonl file")])


def _parquet_rows(path: Path) -> Iterator[tuple[str, int, Mapping[str, Any]]]:
    import pyarrow
    from pyarrow import parquet

    number = 0
    try:
        with parquet.ParquetFile(path) as file:
            names = file.schema_arrow.names
            _check_columns(path, names)
            wanted = [name for name in names if name in _COLUMNS]
            for batch in file.iter_batches(batch_size=_ROWS_AT_ONCE, columns=wanted):
                for row in batch.to_pylist():
                    number += 1
                    yield "row", number, row
    except (pyarrow.ArrowException, OSError) as error:
        raise UserError([Fault(str(path), f"is no readable parquet file ({error})", "write it anew")]) from error


def _check_columns(path: Path, names: Sequence[str]) -> None:
    groups = (("prompt",), ("chosen", "completion"))
    missing = [" or ".join(f"'{name}'" for name in group) for group in groups if not set(group) & set(names)]
    if missing:
        have = ", ".join(names) or "none"
        raise UserError([Fault(str(path), f"has no column {one} (it has: {have})", "add it") for one in missing])


def _json_rows(path: Path) -> Iterator[tuple[str, int, Mapping[str, Any] | _Broken]]:
    with path.open("rb") as lines:  # as bytes, so that a line which is no UTF-8 is a fault of that line only
        for number, line in enumerate(lines, start=1):
            if line.strip():
                yield "line", number, _json_row(line)


def _json_row(line: bytes) -> Mapping[str, Any] | _Broken:
    try:
        row = json.loads(line.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:  # no JSON, no UTF-8, a number with thousands of digits; too deep
        return _Broken("not_json", f"is no JSON ({error})")
    return row if isinstance(row, dict) else _Broken("not_json", "is no JSON object")


def _record(row: Mapping[str, Any], number: int, folder: Path, ids: set[str], needs_rejected: bool) -> PairRecord:
    """Makes a pair of a row.

    Raises:
        _Broken: If it cannot be used.
    """
    prompt, places, inline = _turn(row, "prompt", "user")
    chosen, _, _ = _turn(row, "chosen" if row.get("chosen") else "completion", "assistant", "chosen")
    rejected = _turn(row, "rejected", "assistant")[0] if row.get("rejected") else None
    if not chosen.strip():
        raise _Broken("no_chosen", "has no 'chosen', or an empty one")
    rejected = rejected if rejected and rejected.strip() else None
    if rejected is None and needs_rejected:
        raise _Broken("no_rejected", "has no 'rejected', or an empty one")
    if rejected is not None and rejected.strip() == chosen.strip():
        raise _Broken("same_sides", "'chosen' and 'rejected' are the same")
    prompt, image = _picture(row, prompt, places, inline, folder)
    if not prompt.strip():
        raise _Broken("no_prompt", "has no 'prompt', or an empty one")
    name = _text(row, "id") or f"row/{number}"
    if name in ids:
        raise _Broken("repeated_id", f"an earlier row has the id '{name}' too")
    ids.add(name)
    rest: dict[str, Any] = {key: _text(row, key) for key in _TEXTS}
    rest |= {"chosen_format": None, "chosen_correct": None}
    return PairRecord(
        id=name, prompt=prompt, chosen=chosen, rejected=rejected, images=() if image is None else (image,), **rest
    )


def _turn(row: Mapping[str, Any], key: str, role: str, shown: str = "") -> tuple[str, int, list[Any]]:
    """The text of a one-message conversation, how many places it has for pictures, and pictures given in place."""
    shown = shown or key
    value = row.get(key)
    if value is None or isinstance(value, str):
        return _valid(value or "", shown), 0, []
    if not isinstance(value, list):
        raise _Broken("bad_message", f"'{shown}' is neither text nor a list of messages")
    if not all(isinstance(message, Mapping) for message in value):
        raise _Broken("bad_message", f"'{shown}' holds something that is no message")
    roles = [message.get("role") for message in value]
    if roles != [role] and roles:
        raise _Broken("role_order", f"'{shown}' has the roles {roles}, not one message of the {role}")
    return _content(value[0].get("content"), shown) if value else ("", 0, [])


def _content(content: Any, shown: str) -> tuple[str, int, list[Any]]:
    if content is None or isinstance(content, str):
        return _valid(content or "", shown), 0, []
    if not isinstance(content, list):
        raise _Broken("bad_message", f"the content of '{shown}' is neither text nor a list of parts")
    texts, places, pictures = [], 0, []
    for part in content:
        kind = part.get("type") if isinstance(part, Mapping) else None
        if kind == "text" and isinstance(part.get("text"), str):
            texts.append(part["text"])
        elif kind == "image" and shown == "prompt":
            places += 1
            pictures.append(part.get("image"))
        else:
            raise _Broken("bad_message", f"'{shown}' has a part that is no text{' or image' * (shown == 'prompt')}")
    return _valid("".join(texts), shown), places, pictures


def _picture(
    row: Mapping[str, Any], prompt: str, places: int, inline: list[Any], folder: Path
) -> tuple[str, Image.Image | None]:
    """The prompt without ``<image>`` marks, and the picture: it goes before the text wherever its place was."""
    images = row.get("images")
    if images is not None and not isinstance(images, list):
        images = [images]
    given = [one for one in (*(images or []), row.get("image"), *inline) if one is not None]
    if len(given) > 1:
        raise _Broken("several_images", f"has {len(given)} pictures")
    places += prompt.count(IMAGE_MARKER)
    if places and places != len(given):
        raise _Broken("image_markers", f"has {len(given)} pictures, and places for {places} in its prompt")
    if not given:
        return prompt, None
    if IMAGE_MARKER in prompt:
        prompt = prompt.replace(IMAGE_MARKER, "").strip()
    try:
        return prompt, decode_picture(given[0], folder)
    except UnreadablePicture as error:
        raise _Broken("unreadable_image", f"its picture {error}") from error


def _text(row: Mapping[str, Any], key: str) -> str:
    value = row.get(key)
    if not isinstance(value, str | int | float | None):
        raise _Broken("bad_value", f"its '{key}' is no text")
    return "" if value is None else _valid(str(value), key)


def _valid(text: str, shown: str) -> str:
    """The text, unless it holds half a character: JSON can spell those, but no file can be written with them."""
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise _Broken("bad_value", f"its '{shown}' holds half of a character (a lone surrogate)")
    return text
