"""Tasks whose pictures lie in a table, and are decoded when somebody looks at them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from specs_lab.problems.filters import FILTERS
from specs_lab.problems.rows import decoded
from specs_lab.problems.tasks import Task


@dataclass(frozen=True)
class StoredTask(Task):
    """A task of a dataset. Its gold answer can be checked, and a thousand of them kept, without a decoded picture.

    Attributes:
        pictures: Its pictures as a :class:`~specs_lab.problems.rows.ProblemRow` has them; ``problem`` holds none.
        folder: Where relative paths of pictures start.
    """

    pictures: tuple[Any, ...]
    folder: Path

    @property
    def images(self) -> tuple[Image.Image, ...]:
        """The pictures in the problem's style, decoded now.

        Raises:
            BrokenRow: If one cannot be read.
        """
        return tuple(map(FILTERS[self.problem.style], decoded(self.pictures, self.folder)))
