"""Problems of real datasets: of the hub at a commit, or of a local copy.

Importing this reads no data, and neither does checking the options: the first problem that is drawn does, see
:mod:`specs_lab.problems.index`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from fnmatch import fnmatchcase
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from specs_lab.core.errors import Fault, UserError
from specs_lab.core.options import Checks, option
from specs_lab.core.progress import Progress
from specs_lab.core.seeding import python_rng
from specs_lab.problems.base import SPLITS, Problem, Split
from specs_lab.problems.filters import FILTERS
from specs_lab.problems.instructions import INSTRUCTIONS
from specs_lab.problems.tasks import AXIS_VALUES, INSTRUCTION_VALUES, Cell, ProblemSource, Task, TaskRef

if TYPE_CHECKING:
    from specs_lab.problems.index import Index, IndexSpec

_LIMITS = ("limit", "max_pixels_total", "max_images", "max_question_characters")


@option("problems", "dataset")
@dataclass(kw_only=True)
class DatasetProblems(ProblemSource):
    """Problems of a dataset.

    Attributes:
        reader: Who reads its rows, see :mod:`specs_lab.problems.readers`.
        repo: ``owner/name`` of the dataset on the hub.
        revision: A branch, tag or commit of it; stages are made anew when the commit that it means changes.
        path: A local copy, or a folder or file of one's own; comes before ``repo``.
        config: The dataset's configuration, or sub-folder.
        splits: The dataset's split for each of ours (``train``, ``id``, ``ood``). Those that share one are split by
            hash, 8 to 1 to 1; those that are not named share that of ``train``.
        files: Patterns of files, by split of the dataset, where its layout does not tell.
        archives: Zip or tar files that hold its pictures.
        images: Sub-folder where the paths of its pictures start.
        columns: Names of columns by role, for the reader ``columns``.
        families: In-distribution families, as patterns like ``*chart*``; case does not matter. A row whose data name no
            family is of that of its type of answer, e.g. ``choice``.
        ood_families: Out-of-distribution families, as patterns; come before ``families``.
        instructions: In-distribution instruction wordings.
        ood_instructions: Out-of-distribution wordings.
        alternative_instructions: Requests for another format.
        styles: In-distribution looks of pictures, see :mod:`specs_lab.problems.filters`.
        ood_styles: Out-of-distribution looks.
        cells: The cells by name.
        seed: Separates orders in which problems are drawn; the same for all arms and seeds of a study.
        streaming: Read only the first ``limit`` usable rows, and never load the rest.
        limit: So many usable rows of each of the dataset's splits; null: all.
        max_pixels_total: Most pixels of a row's pictures together.
        min_side: Least width and height of a picture, in pixels.
        max_images: Most pictures of a row.
        max_question_characters: Longest question.
        decode_all: Decode every picture once when the data are read first, so that none turns out broken later.
        open_answers: Keep answers that only a judge can grade.
    """

    reader: str = "columns"
    repo: str = ""
    revision: str = "main"
    path: str = ""
    config: str | None = None
    splits: dict[str, str] = field(default_factory=lambda: {"train": "train"})
    files: dict[str, list[str]] = field(default_factory=dict)
    archives: list[str] = field(default_factory=list)
    images: str = ""
    columns: dict[str, str] = field(default_factory=dict)
    families: list[str] = field(default_factory=lambda: ["*"])
    ood_families: list[str] = field(default_factory=list)
    instructions: list[str] = field(default_factory=list)
    ood_instructions: list[str] = field(default_factory=list)
    alternative_instructions: list[str] = field(default_factory=list)
    styles: list[str] = field(default_factory=lambda: ["plain"])
    ood_styles: list[str] = field(default_factory=list)
    cells: dict[str, Cell] = field(default_factory=dict)
    seed: int = 0
    streaming: bool = False
    limit: int | None = None
    max_pixels_total: int | None = None
    min_side: int = 1
    max_images: int | None = None
    max_question_characters: int | None = None
    decode_all: bool = True
    open_answers: bool = False

    def __post_init__(self) -> None:
        from specs_lab.problems.readers.base import READERS
        from specs_lab.problems.readers.columns import ROLES

        checks = Checks().one_of("reader", self.reader, tuple(READERS.names()))
        checks.that(bool(self.repo or self.path), "path", "is empty", "name a folder, or a dataset of the hub by repo")
        there = not self.path or Path(self.path).exists()
        checks.that(there, "path", f"there is no '{self.path}'", "give the folder or file of a local copy")
        checks.that("train" in self.splits, "splits", "does not name 'train'", "add train: <split of the dataset>")
        for name in self.splits:
            checks.one_of("splits", name, SPLITS)
        for role in self.columns:
            checks.one_of("columns", role, ROLES)
        for where in _LIMITS:
            if (value := getattr(self, where)) is not None:
                checks.at_least(where, value, 1)
        endless = self.streaming and self.limit is None
        checks.that(not endless, "limit", "is missing, as the data are streamed", "say how many rows are wanted")
        packed = self.streaming and bool(self.archives) and not self.path
        fix = "read it map-style, or unpack the archives beside a local copy"
        checks.that(not packed, "streaming", "cannot be had where pictures are in archives", fix)
        self._check_axes(checks)
        checks.done()

    def __getstate__(self) -> dict[str, Any]:
        return {one.name: getattr(self, one.name) for one in fields(self)}  # another process opens the data itself

    def _check_axes(self, checks: Checks) -> None:
        for where in ("instructions", "ood_instructions", "alternative_instructions"):
            for name in getattr(self, where):
                checks.one_of(where, name, tuple(INSTRUCTIONS))
        for where in ("styles", "ood_styles"):
            for name in getattr(self, where):
                checks.one_of(where, name, tuple(FILTERS))
        for axis in ("instructions", "styles"):
            both = sorted(set(getattr(self, axis)) & set(getattr(self, f"ood_{axis}")))
            checks.that(not both, f"ood_{axis}", f"{both} is in distribution too", "remove it from one of the lists")
        for name, cell in self.cells.items():
            checks.one_of(f"cells.{name}.family", cell.family, AXIS_VALUES)
            checks.one_of(f"cells.{name}.instruction", cell.instruction, INSTRUCTION_VALUES)
            checks.one_of(f"cells.{name}.style", cell.style, AXIS_VALUES)
            for axis, listed in self.axes(cell).items():
                where = f"cells.{name}.{axis}"
                checks.that(bool(listed), where, "draws from an empty list", f"fill the list of {axis}")

    def axes(self, cell: Cell) -> dict[str, list[str]]:
        """What a cell draws from, by axis; of families the patterns."""
        wordings = {"ood": self.ood_instructions, "alternative": self.alternative_instructions}
        return {
            "family": self.families if cell.family == "id" else self.ood_families,
            "instruction": wordings.get(cell.instruction, self.instructions),
            "style": self.styles if cell.style == "id" else self.ood_styles,
        }

    # --- the data ---

    def identity(self) -> Mapping[str, Any]:
        """What names the data's content: the commit, or of a local copy a hash.

        Raises:
            UserError: If nobody can say which commit the revision means.
        """
        if self.path:
            from specs_lab.problems.identity import content_hash

            return {"content": content_hash(Path(self.path))}
        from specs_lab.core.hub import commit_of

        return {"commit": commit_of(self.repo, self.revision, "dataset")}

    def spec(self) -> IndexSpec:
        """What the index of the data depends on."""
        from specs_lab.problems.index import IndexSpec
        from specs_lab.problems.shares import tables_of
        from specs_lab.problems.tables import TableRef

        identity = self.identity()
        tables = {
            name: TableRef(
                repo=self.repo,
                revision=str(identity.get("commit", "")),
                path=self.path,
                config=self.config,
                split=name,
                files=tuple(self.files.get(name, ())),
                archives=tuple(self.archives),
                images=self.images,
                streaming=self.streaming,
            )
            for name in tables_of(self.splits)
        }
        names = ("reader", "open_answers", "min_side", "decode_all", *_LIMITS)
        return IndexSpec(
            source=self.path or self.repo,
            tables=tuple(tables.items()),
            splits=tuple(sorted(self.splits.items())),
            identity=tuple((key, str(value)) for key, value in identity.items()),
            columns=tuple(sorted(self.columns.items())),
            **{name: getattr(self, name) for name in names},
        )

    def prepare(self, progress: Progress) -> None:
        """Reads the data, unless that has been done before; drawing does so too, but cannot say how far it is.

        Raises:
            UserError: If the data cannot be read.
        """
        from specs_lab.problems.index import make_index

        make_index(self.spec(), progress)

    @cached_property
    def index(self) -> Index:
        """The usable rows."""
        from specs_lab.problems.index import open_index

        return open_index(self.spec())

    # --- drawing ---

    def side_of(self, family: str) -> str | None:
        """``id`` or ``ood``: on which side a family is; None if on neither."""
        for side, patterns in (("ood", self.ood_families), ("id", self.families)):
            if any(fnmatchcase(family.lower(), pattern.lower()) for pattern in patterns):
                return side
        return None

    @cached_property
    def _members(self) -> dict[tuple[str | None, str], dict[str, list[int]]]:
        """{(side, split): {family: positions in the index}}."""
        members: dict[tuple[str | None, str], dict[str, list[int]]] = {}
        sides: dict[str, str | None] = {}
        for position, entry in enumerate(self.index.entries):
            side = sides.setdefault(entry.family, self.side_of(entry.family))
            members.setdefault((side, entry.split), {}).setdefault(entry.family, []).append(position)
        return members

    def size(self, cell: str, split: Split) -> int:
        """How many different problems a cell has in a split."""
        return sum(map(len, self._members.get((self.cells[cell].family, split), {}).values()))

    def draw_task(self, cell: str, split: Split, stream: str, index: int) -> Task:
        """The ``index``-th task of a cell; depends on the arguments and the data only.

        Every problem of the cell comes once before any comes again. Families take turns as long as they have problems
        left, in an order that is new each time round; wordings are drawn at random.

        Raises:
            UserError: If the cell has no problem in this split.
        """
        size = self.size(cell, split)
        if not size:
            side = self.cells[cell].family
            there = sorted({entry.family for entry in self.index.entries if entry.split == split})
            what = f"no problem of the split '{split}' is in a family that is '{side}'"
            fix = f"choose among its families: {', '.join(there) or 'there are none'}"
            raise UserError([Fault(f"problems.cells.{cell}", what, fix)])
        epoch, position = divmod(index, size)
        order = self._orders(cell, split, stream, epoch)
        rng = python_rng("dataset task", self.seed, cell, split, stream, index)
        axes = self.axes(self.cells[cell])
        style, wording = rng.choice(axes["style"]), rng.choice(axes["instruction"])
        return self._task(order[position], cell, style, wording)

    @cached_property
    def _orders(self) -> Any:
        """The order of a cell's problems in an epoch of a stream; a few are kept."""
        return lru_cache(maxsize=16)(self._order)

    def _order(self, cell: str, split: Split, stream: str, epoch: int) -> list[int]:
        families = self._members[self.cells[cell].family, split]
        turns: list[tuple[int, int, int]] = []
        for number, name in enumerate(sorted(families)):
            shuffled = list(families[name])
            python_rng("dataset", self.seed, cell, split, stream, epoch, name).shuffle(shuffled)
            turns += [(turn, number, position) for turn, position in enumerate(shuffled)]
        return [position for _, _, position in sorted(turns)]

    def _task(self, position: int, cell: str, style: str, wording: str) -> Task:
        from specs_lab.problems.stored import StoredTask

        entry = self.index.entries[position]
        row = self.index.row(entry)
        problem = Problem(
            id=f"{row.id}/{style}",
            family=entry.family,
            style=style,
            images=(),
            question=row.question,
            answer=row.answer,
            answer_type=row.kind,
            reasoning=row.reasoning,
            choices=row.choices,
            precision=row.precision,
            unit=row.unit,
        )
        folder = self.index.pictures_start(entry)
        return StoredTask(f"{problem.id}/{wording}", cell, problem, INSTRUCTIONS[wording], row.images, folder)

    def redraw(self, ref: TaskRef) -> Task:
        """The task of a reference, as :meth:`draw_task` drew it.

        Raises:
            ValueError: If it is no name of a task of these data.
        """
        name, style, wording = ["", "", *ref.id.rsplit("/", 2)][-3:]
        position = self.index.number_of(name)
        if position is None or style not in FILTERS or wording not in INSTRUCTIONS:
            raise ValueError(f"'{ref.id}' is no name of a task")
        return self._task(position, ref.cell, style, wording)
