"""Preference pairs on disk: one parquet file with pictures inside, as the `datasets` library writes it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from datasets import Dataset, Features, Value
from datasets import Image as ImageFeature
from PIL import Image
from pyarrow import parquet


@dataclass(frozen=True)
class PairRecord:
    """A preference pair as text.

    Attributes:
        id: Name of the task.
        cell: The cell that the task was drawn for.
        family: Problem family.
        image: The picture.
        prompt: Text of the user's turn.
        chosen: Preferred response.
        rejected: Other response.
        answer: Gold answer.
        pollution: How the rejected side's form was spoilt; ``own`` if it missed the format by itself.
        supplemented: Whether the chosen side's form had to be completed.
    """

    id: str
    cell: str
    family: str
    image: Image.Image
    prompt: str
    chosen: str
    rejected: str
    answer: str
    pollution: str
    supplemented: bool


_TEXT = ("id", "cell", "family", "prompt", "chosen", "rejected", "answer", "pollution")
FEATURES = Features(
    {"image": ImageFeature(), "supplemented": Value("bool"), **{name: Value("string") for name in _TEXT}}
)


def write_pairs(path: Path, pairs: Sequence[PairRecord]) -> None:
    """Writes pairs to a parquet file."""
    columns: dict[str, list[Any]] = {name: [] for name in FEATURES}
    for pair in pairs:
        row = {**asdict(pair), "image": pair.image}
        for name in columns:
            columns[name].append(row[name])
    Dataset.from_dict(columns, features=FEATURES).to_parquet(path)


def read_pairs(path: Path) -> list[PairRecord]:
    """Reads what :func:`write_pairs` wrote."""
    # Not from_parquet, which would write a cache beside the file.
    rows: Any = Dataset(parquet.read_table(path))
    return [PairRecord(**{**row, "image": row["image"].convert("RGB")}) for row in rows]
