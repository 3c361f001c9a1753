"""Rows of real datasets: what each becomes, and why some cannot be used."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image

from specs_lab.core.pictures import IMAGE_MARKER, UnreadablePicture, decode_picture, picture_size


class BrokenRow(Exception):
    """A row that cannot be used.

    Args:
        reason: The kind of fault, a few words in snake_case; rows are counted by it.
        what: What is wrong with this row, for people.
    """

    def __init__(self, reason: str, what: str) -> None:
        super().__init__(what)
        self.reason = reason
        self.what = what


@dataclass(frozen=True, kw_only=True)
class ProblemRow:
    """A visual question of a dataset, its pictures not yet decoded.

    Attributes:
        id: Its name, unique within the dataset.
        question: The question, without any instruction about format. Each ``<image>`` in it says where a picture goes;
            without any, the pictures stand before it.
        answer: The gold answer.
        images: The pictures in order: bytes of a file, a path relative to the data, a mapping with ``bytes`` or
            ``path`` as `datasets` has it, or a PIL picture.
        kind: Type of the answer, see :data:`specs_lab.rewards.kinds.base.KINDS`; None: what it looks like.
        choices: The options' texts, A first.
        precision: See :func:`specs_lab.rewards.grader.grade`.
        unit: The answer's unit.
        reasoning: A derivation that ends in the answer, where the dataset has one.
        family: What is like a family of problems: a subject, a category, a source.
        about: Whatever else is worth knowing, by name.
    """

    id: str
    question: str
    answer: str
    images: tuple[Any, ...] = ()
    kind: str | None = None
    choices: tuple[str, ...] = ()
    precision: float | None = None
    unit: str | None = None
    reasoning: str = ""
    family: str = ""
    about: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        marks = self.question.count(IMAGE_MARKER)
        if marks not in (0, len(self.images)):
            what = f"has {len(self.images)} pictures, and places for {marks} in its question"
            raise BrokenRow("image_markers", what)


def decoded(images: Sequence[Any], folder: Path) -> tuple[Image.Image, ...]:
    """The pictures of a row, RGB.

    Args:
        images: As a :class:`ProblemRow` has them.
        folder: Where relative paths start; they may not leave it.

    Raises:
        BrokenRow: If one cannot be read, or is too large.
    """
    try:
        return tuple(
            one.convert("RGB") if isinstance(one, Image.Image) else decode_picture(one, folder) for one in images
        )
    except UnreadablePicture as error:
        raise BrokenRow("unreadable_image", f"a picture {error}") from error


def picture_sizes(images: Sequence[Any], folder: Path) -> list[tuple[int, int]]:
    """(width, height) of each picture, from the files' heads alone where that is possible.

    Raises:
        BrokenRow: If one has no readable head.
    """
    return list(_sizes(images, folder))


def _sizes(images: Sequence[Any], folder: Path) -> Iterator[tuple[int, int]]:
    for one in images:
        if isinstance(one, Image.Image):
            yield one.size
            continue
        try:
            yield picture_size(one, folder)
        except UnreadablePicture as error:
            raise BrokenRow("unreadable_image", f"a picture {error}") from error
