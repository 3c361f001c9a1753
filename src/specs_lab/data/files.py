"""Reads training pairs that a user brings: parquet or JSON lines in the conversational form, or close to it.

Each row has ``prompt`` and ``chosen`` (or ``completion``), texts or lists of messages; optionally ``rejected``,
pictures under ``images`` or ``image``, and ``id``, ``answer``, ``cell``, ``family``, ``source`` and ``pollution``.

``<image>`` in a prompt, or a part of type image, is the place of a picture; without any, pictures stand before the
text. What a system message says is put in front of the user's text, a blank line between. Each row is one turn:
conversations that go on are refused.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from specs_lab.core.pictures import IMAGE_MARKER
from specs_lab.data.records import PairRecord
from specs_lab.data.row_files import Account, rows_of
from specs_lab.problems.rows import BrokenRow, decoded

_TEXTS = ("cell", "family", "answer", "source", "pollution")
_COLUMNS = ("id", "images", "image", "prompt", "chosen", "completion", "rejected", *_TEXTS)
_NEEDED = (("prompt",), ("chosen", "completion"))

FIXES = {
    "not_json": "write one JSON object a line, in UTF-8",
    "no_prompt": "add the question as text or as a message of the user",
    "no_chosen": "add the response to learn, under chosen or completion",
    "no_rejected": "add the response to turn away from, or learn the chosen one: coldstart=sft data.rejected=false",
    "role_order": "give one user message as prompt, after a system message or none, and one assistant message a side; "
    "make of a longer conversation a row for each answer that is to be learnt, with what came before in its prompt",
    "bad_message": "write messages as {role, content}, and content as text or as parts of type text or image",
    "image_markers": f"give as many pictures as the prompt has {IMAGE_MARKER} marks, or leave all marks out",
    "unreadable_image": "give the bytes of a picture, or its path relative to the data file's folder",
    "same_sides": "give sides that differ, or leave rejected out",
    "repeated_id": "give each row an id of its own, or none at all",
    "bad_value": "write text or a number",
}
"""What is wrong with rows, by the name that it is counted under, and what to do about it."""


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
    account = Account(path, FIXES)
    ids: set[str] = set()
    for where, number, row in rows_of(path, needed=_NEEDED, wanted=_COLUMNS):
        if limit is not None and len(records) >= limit:
            break
        account.counts["rows"] += 1
        try:
            if isinstance(row, BrokenRow):
                raise row
            records.append(_record(row, number, path.parent, ids, needs_rejected))
        except BrokenRow as broken:
            account.broken(where, number, broken)
    if limit != 0:
        account.close(len(records), skip_broken=skip_broken)
    return records, account.counts


def _record(row: Mapping[str, Any], number: int, folder: Path, ids: set[str], needs_rejected: bool) -> PairRecord:
    """Makes a pair of a row.

    Raises:
        BrokenRow: If it cannot be used.
    """
    prompt, inline = _prompt(row)
    chosen = _side(row, "chosen" if row.get("chosen") else "completion", "chosen")
    rejected = _side(row, "rejected") if row.get("rejected") else None
    check_sides(chosen, rejected, needs_rejected=needs_rejected)
    rejected = rejected if rejected and rejected.strip() else None
    images = _pictures(row, prompt, inline, folder)
    if not prompt.replace(IMAGE_MARKER, "").strip():
        raise BrokenRow("no_prompt", "has no 'prompt', or an empty one")
    name = _text(row, "id") or f"row/{number}"
    if name in ids:
        raise BrokenRow("repeated_id", f"an earlier row has the id '{name}' too")
    ids.add(name)
    rest: dict[str, Any] = {key: _text(row, key) for key in _TEXTS}
    rest |= {"chosen_format": None, "chosen_correct": None}
    return PairRecord(id=name, prompt=prompt, chosen=chosen, rejected=rejected, images=images, **rest)


def check_sides(chosen: str, rejected: str | None, *, needs_rejected: bool = False) -> None:
    """There must be a response to learn, and another one must differ.

    Raises:
        BrokenRow: If not.
    """
    if not chosen.strip():
        raise BrokenRow("no_chosen", "has no 'chosen', or an empty one")
    if rejected is None or not rejected.strip():
        if needs_rejected:
            raise BrokenRow("no_rejected", "has no 'rejected', or an empty one")
    elif rejected.strip() == chosen.strip():
        raise BrokenRow("same_sides", "'chosen' and 'rejected' are the same")


def after_system(system: str, prompt: str) -> str:
    """A prompt that begins with what a system message said, a blank line between: pairs have one user turn only."""
    return f"{system.strip()}\n\n{prompt}" if system.strip() else prompt


def _prompt(row: Mapping[str, Any]) -> tuple[str, list[Any]]:
    """The prompt's text, and for each picture among its parts the picture, or None where only its place is given."""
    messages = _messages(row, "prompt")
    if isinstance(messages, str):
        return messages, []
    system = messages[0] if len(messages) > 1 and messages[0].get("role") == "system" else None
    turns = messages[1:] if system else messages
    if [message.get("role") for message in turns] not in ([], ["user"]):
        roles = [message.get("role") for message in messages]
        what = f"'prompt' has the roles {roles}, not one message of the user, after one of the system or none"
        raise BrokenRow("role_order", what)
    before = _content(system.get("content"), "prompt", pictured=False)[0] if system else ""
    text, pictures = _content(turns[0].get("content"), "prompt", pictured=True) if turns else ("", [])
    return after_system(before, text), pictures


def _side(row: Mapping[str, Any], key: str, shown: str = "") -> str:
    """The text of a response."""
    messages = _messages(row, key, shown)
    if isinstance(messages, str):
        return messages
    roles = [message.get("role") for message in messages]
    if roles not in ([], ["assistant"]):
        raise BrokenRow("role_order", f"'{shown or key}' has the roles {roles}, not one message of the assistant")
    return _content(messages[0].get("content"), shown or key, pictured=False)[0] if messages else ""


def _messages(row: Mapping[str, Any], key: str, shown: str = "") -> str | list[Mapping[str, Any]]:
    """A cell that is a text or a list of messages."""
    shown, value = shown or key, row.get(key)
    if value is None or isinstance(value, str):
        return valid_text(value or "", shown)
    if not isinstance(value, list):
        raise BrokenRow("bad_message", f"'{shown}' is neither text nor a list of messages")
    if not all(isinstance(message, Mapping) for message in value):
        raise BrokenRow("bad_message", f"'{shown}' holds something that is no message")
    return value


def _content(content: Any, shown: str, *, pictured: bool) -> tuple[str, list[Any]]:
    """The text of a message, marked where pictures stand unless all do so in front, and what is given of these."""
    if content is None or isinstance(content, str):
        return valid_text(content or "", shown), []
    if not isinstance(content, list):
        raise BrokenRow("bad_message", f"the content of '{shown}' is neither text nor a list of parts")
    texts, pictures = [], []
    for part in content:
        kind = part.get("type") if isinstance(part, Mapping) else None
        if kind == "text" and isinstance(part.get("text"), str):
            texts.append(part["text"])
        elif kind == "image" and pictured:
            texts.append(IMAGE_MARKER)
            pictures.append(part.get("image"))
        else:
            raise BrokenRow("bad_message", f"'{shown}' has a part that is no text{' or image' * pictured}")
    count = len(pictures)
    if count and "".join(texts).count(IMAGE_MARKER) != count:
        raise BrokenRow("image_markers", f"'{shown}' has both parts of type image and {IMAGE_MARKER} marks")
    shown_texts = texts[count:] if texts[:count] == [IMAGE_MARKER] * count else texts
    return valid_text("".join(shown_texts), shown), pictures


def _pictures(row: Mapping[str, Any], prompt: str, inline: Sequence[Any], folder: Path) -> tuple[Image.Image, ...]:
    """A row's pictures in the order of their places."""
    listed = as_list(row.get("images")) + as_list(row.get("image"))
    rest = iter(listed)
    given = [next(rest, None) if one is None else one for one in inline]
    if None in given:
        what = f"has {len(listed)} pictures, and {inline.count(None)} places for them in its prompt"
        raise BrokenRow("image_markers", what)
    given += rest
    check_markers(prompt, len(given), places=len(inline))
    return decoded(given, folder)


def check_markers(prompt: str, pictures: int, places: int = 0) -> None:
    """As many marks as pictures, or none.

    Args:
        prompt: The text.
        pictures: How many there are.
        places: Places for pictures that the prompt has otherwise.

    Raises:
        BrokenRow: If not.
    """
    places = max(prompt.count(IMAGE_MARKER), places)
    if places not in (0, pictures):
        raise BrokenRow("image_markers", f"has {pictures} pictures, and places for {places} in its prompt")


def as_list(value: Any) -> list[Any]:
    """A cell that holds one thing, several or none."""
    return [one for one in (value if isinstance(value, list) else [value]) if one is not None]


def _text(row: Mapping[str, Any], key: str) -> str:
    value = row.get(key)
    if not isinstance(value, str | int | float | None):
        raise BrokenRow("bad_value", f"its '{key}' is no text")
    return "" if value is None else valid_text(str(value), key)


def valid_text(text: str, shown: str) -> str:
    """The text, unless it holds half a character: JSON can spell those, but no file can be written with them."""
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise BrokenRow("bad_value", f"its '{shown}' holds half of a character (a lone surrogate)")
    return text
