"""Training pairs on disk: one parquet file in the conversational form that TRL's trainers take, with pictures inside.

A row holds ``images`` (a list), ``prompt``, ``chosen`` and ``rejected`` (lists of messages; ``rejected`` is null where
there is no such side) and what is known about the pair, a column each. ``completion`` is ``chosen`` once more: TRL's
SFTTrainer asks for that name, its DPOTrainer for the other, and each leaves alone what it does not know.

TRL puts pictures before a text that is a string. Where some prompt of a file has a picture elsewhere, all its prompts
are written as parts (``{"type": "text", "text": ...}`` and ``{"type": "image"}``), whose order TRL keeps.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from specs_lab.core.pictures import IMAGE_MARKER, laid_out

if TYPE_CHECKING:
    from datasets import Features


@dataclass(frozen=True, kw_only=True)
class PairRecord:
    """A prompt with a response to learn and, mostly, one to turn away from.

    Attributes:
        id: Name of the task.
        prompt: Text of the user's turn.
        chosen: Preferred response.
        images: The pictures, RGB; ``<image>`` in the prompt says where each goes, without any they stand before it.
        rejected: The other response; None if the construction makes no rejected side.
        cell: The cell that the task was drawn for, if any.
        family: Problem family, if any.
        answer: Gold answer, if known.
        source: What made the chosen side: ``self``, ``base``, ``teacher``, ``solver``, ``gold``, ...
        pollution: How the rejected side's form was spoilt; ``own`` if it missed the format by itself; empty if it
            follows it or there is none.
        supplemented: Whether the chosen side's form had to be completed.
        chosen_format: Whether the chosen side follows the requested format; None if nobody looked.
        chosen_correct: Whether it answers correctly; None if nobody looked.
        rejected_format: Whether the rejected side follows the requested format; None also if there is none.
        rejected_correct: Whether it answers correctly (before its form was spoilt); None also if there is none.
    """

    id: str
    prompt: str
    chosen: str
    images: tuple[Image.Image, ...] = ()
    rejected: str | None = None
    cell: str = ""
    family: str = ""
    answer: str = ""
    source: str = ""
    pollution: str = ""
    supplemented: bool = False
    chosen_format: bool | None = True
    chosen_correct: bool | None = True
    rejected_format: bool | None = None
    rejected_correct: bool | None = None


_TEXTS = ("id", "cell", "family", "answer", "source", "pollution")
_FLAGS = ("supplemented", "chosen_format", "chosen_correct", "rejected_format", "rejected_correct")


@cache
def pair_features(*, parts: bool = False) -> Features:
    """The columns of a file of pairs, as `datasets` knows them.

    Args:
        parts: Whether prompts are written as parts, not as strings.
    """
    from datasets import Features, Image, List, Value  # slow to import, and options are imported by every command

    def messages(content: Any) -> Any:
        return List({"role": Value("string"), "content": content})

    text = messages(Value("string"))
    part = List({"type": Value("string"), "text": Value("string")})
    return Features(
        {
            "images": List(Image()),
            "prompt": messages(part) if parts else text,
            "chosen": text,
            "rejected": text,
            "completion": text,
            **{name: Value("string") for name in _TEXTS},
            **{name: Value("bool") for name in _FLAGS},
        }
    )


def write_pairs(path: Path, pairs: Sequence[PairRecord]) -> None:
    """Writes pairs to a parquet file."""
    from datasets import Dataset

    parts = any(_in_front(pair) is None for pair in pairs)
    rows, features = pair_rows(pairs, parts=parts), pair_features(parts=parts)
    columns = {name: [row[name] for row in rows] for name in features}
    Dataset.from_dict(columns, features=features).to_parquet(path)


def pair_rows(pairs: Sequence[PairRecord], *, parts: bool) -> list[dict[str, Any]]:
    """Pairs as rows of a file with the columns :func:`pair_features`."""
    return [_row(pair, parts) for pair in pairs]


def read_pairs(path: Path) -> list[PairRecord]:
    """Reads what :func:`write_pairs` wrote."""
    from datasets import Dataset
    from pyarrow import parquet

    # Not from_parquet, which would write a cache beside the file.
    rows: Any = Dataset(parquet.read_table(path))
    return [_record(row) for row in rows]


def _in_front(pair: PairRecord) -> str | None:
    """The prompt's text if all its pictures stand before it, else None."""
    shown = laid_out(pair.prompt, pair.images)
    *images, last = shown if isinstance(shown[-1], str) else [*shown, ""]
    return None if any(isinstance(one, str) for one in images) else str(last)


def _row(pair: PairRecord, parts: bool) -> dict[str, Any]:
    prompt = _parts(pair) if parts else _in_front(pair)
    chosen = _messages("assistant", pair.chosen)
    return {
        "images": [{"bytes": png_bytes(image), "path": None} for image in pair.images],
        "prompt": _messages("user", prompt),
        "chosen": chosen,
        "rejected": None if pair.rejected is None else _messages("assistant", pair.rejected),
        "completion": chosen,
        **{name: getattr(pair, name) for name in (*_TEXTS, *_FLAGS)},
    }


def _parts(pair: PairRecord) -> list[dict[str, Any]]:
    return [
        {"type": "text", "text": one} if isinstance(one, str) else {"type": "image", "text": None}
        for one in laid_out(pair.prompt, pair.images)
    ]


def _record(row: Mapping[str, Any]) -> PairRecord:
    return PairRecord(
        prompt=_text(row["prompt"][0]["content"]),
        chosen=row["chosen"][0]["content"],
        rejected=None if row["rejected"] is None else row["rejected"][0]["content"],
        images=tuple(image.convert("RGB") for image in row["images"]),
        **{name: row[name] for name in (*_TEXTS, *_FLAGS)},
    )


def _text(content: str | Sequence[Mapping[str, Any]]) -> str:
    """A prompt with marks where its pictures go; without any if all stand in front."""
    if isinstance(content, str):
        return content
    kinds = [part["type"] for part in content]
    pictures = kinds.count("image")
    in_front = kinds[:pictures] == ["image"] * pictures
    shown = content[pictures:] if in_front else content
    return "".join(IMAGE_MARKER if part["type"] == "image" else part["text"] for part in shown)


def _messages(role: str, content: Any) -> list[dict[str, Any]]:
    return [{"role": role, "content": content}]


def png_bytes(image: Image.Image) -> bytes:
    """The picture without any loss; `datasets` itself would write one that was read from a JPEG as a JPEG again."""
    buffer = io.BytesIO()
    image.convert("RGB").save(buffer, format="PNG")
    return buffer.getvalue()
