"""What a problem is, what a problem family is, and how problems are split without overlap."""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal

from PIL import Image

from specs_lab.core.registry import Registry
from specs_lab.core.seeding import derive_seed, python_rng
from specs_lab.problems.canvas import Canvas
from specs_lab.problems.styles import STYLES

Split = Literal["train", "id", "ood"]
SPLITS: tuple[Split, ...] = ("train", "id", "ood")

_SPLIT_OF_BUCKET: tuple[Split, ...] = ("train",) * 8 + ("id", "ood")
_MAX_TRIES = 20_000


@dataclass(frozen=True)
class Draft:
    """The content of a problem before it is painted.

    Attributes:
        question: The question, without any instruction about format.
        answer: The gold answer.
        reasoning: A short correct derivation that ends in the answer.
        keys: What the problem is made of. A problem belongs to a split only if *every* key falls into that split's
            share, so nothing named by a key is seen in two splits. (Shares are per family: another family may ask
            something else about an equal scene.)
        cells: What each of the 16 cells of the picture shows, row by row (supervises the vision tower of the
            embedded base model; not used in the study).
        paint: Draws the picture.
    """

    question: str
    answer: str
    reasoning: str
    keys: tuple[str, ...]
    cells: tuple[str, ...]
    paint: Callable[[Canvas], None]


@dataclass(frozen=True)
class Problem:
    """A visual question with a checkable answer.

    Attributes:
        id: Unique name: ``family/split/seed/index/style``.
        family: Name of the family.
        style: Name of the picture style.
        images: RGB pictures, unless the task decodes them itself; ``<image>`` in the question says where each goes,
            without any they stand before it.
        question: The question, without any instruction about format.
        answer: The gold answer.
        answer_type: Decides how an answer is compared; None: what it looks like.
        reasoning: A short correct derivation that ends in the answer; empty if none is known.
        cells: What each of the 16 cells of a drawn picture shows.
        choices: The options' texts, A first, if the question has some and they are known apart from its text.
        precision: Decimals that count, or the like; see :func:`specs_lab.rewards.grader.grade`.
        unit: The answer's unit.
    """

    id: str
    family: str
    style: str
    images: tuple[Image.Image, ...]
    question: str
    answer: str
    answer_type: str | None
    reasoning: str = ""
    cells: tuple[str, ...] = ()
    choices: tuple[str, ...] = ()
    precision: float | None = None
    unit: str | None = None

    @property
    def image(self) -> Image.Image:
        """The picture of a problem that has just one, as drawn ones do."""
        (only,) = self.images
        return only


class Family(ABC):
    """A kind of problem: an endless stream of drafts. Subclasses are final and live in one file each."""

    answer_type: ClassVar[str]
    multi_step: ClassVar[bool] = False
    """Whether the answer needs more than reading one thing off the picture."""

    @abstractmethod
    def draft(self, rng: random.Random) -> Draft:
        """Draws one problem's content. Uses no randomness but ``rng``."""


FAMILIES: Registry[type[Family]] = Registry("problem family", "specs_lab.problems.families")


def split_of(key: str) -> Split:
    """The split that a content key belongs to: 80 % train, 10 % id, 10 % ood, by hash."""
    return _SPLIT_OF_BUCKET[derive_seed("split", key) % len(_SPLIT_OF_BUCKET)]


def make_problem(family: str, *, seed: int, index: int, split: Split = "train", style: str = "plain") -> Problem:
    """The ``index``-th problem of a family in a split.

    The result depends on the arguments only: not on the process, the order of calls or the number of workers. The
    style changes the picture's look, never its content.

    Args:
        family: Name of a registered family.
        seed: Stream of problems.
        index: Position in the stream.
        split: Which share of the content to draw from; the shares are disjoint.
        style: Name of a picture style.

    Raises:
        UserError: If the family is unknown.
        RuntimeError: If the family's content has nothing in this split.
    """
    maker = FAMILIES.get(family)()
    rng = python_rng("problem", family, split, seed, index)
    for _ in range(_MAX_TRIES):
        draft = maker.draft(rng)
        if all(split_of(f"{family}:{key}") == split for key in draft.keys):
            break
    else:
        raise RuntimeError(f"family '{family}' has no content in split '{split}'")
    canvas = Canvas(STYLES[style])
    draft.paint(canvas)
    return Problem(
        id=f"{family}/{split}/{seed}/{index}/{style}",
        family=family,
        style=style,
        images=(canvas.finish(rng),),
        question=draft.question,
        answer=draft.answer,
        answer_type=maker.answer_type,
        reasoning=draft.reasoning,
        cells=draft.cells,
    )
