"""Reads a benchmark's table: the items that can be asked, and a count of the rows that cannot, by reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from PIL import Image

from specs_lab.core.errors import Fault, UserError
from specs_lab.core.pictures import IMAGE_MARKER
from specs_lab.evaluation.benchmarks.base import BENCHMARKS, Benchmark, Item
from specs_lab.problems.base import Problem
from specs_lab.problems.instructions import Instruction
from specs_lab.problems.rows import BrokenRow, ProblemRow, decoded
from specs_lab.problems.tables import Row, TableRef, iterate, picture_folder
from specs_lab.problems.tasks import Task
from specs_lab.rewards.golds import check_golds
from specs_lab.rewards.grader import read_gold, terms_of
from specs_lab.rewards.scoring import Asked

_EXAMPLES = 3


@dataclass(frozen=True)
class Loaded:
    """A benchmark's items.

    Attributes:
        items: Those that can be asked and scored, in the order of the rows.
        folder: Where relative paths of pictures start.
        rows: How many rows were read.
        broken: Rows that cannot be used, by reason.
        examples: What is wrong with the first of each reason.
    """

    items: tuple[Item, ...]
    folder: Path
    rows: int
    broken: dict[str, int]
    examples: dict[str, tuple[str, ...]]

    @property
    def dropped(self) -> int:
        """How many rows cannot be used."""
        return sum(self.broken.values())

    def told(self) -> str:
        """One line about how many rows there are, and why some are not used."""
        reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(self.broken.items()))
        return f"{len(self.items)} of {self.rows} rows" + (f"; broken: {reasons}" if reasons else "")


@dataclass(frozen=True)
class BenchmarkTask(Task):
    """A task whose pictures are decoded when they are asked for: a benchmark's do not fit into memory.

    Attributes:
        item: What is asked.
        folder: Where relative paths of its pictures start.
    """

    item: Item
    folder: Path

    @property
    def images(self) -> tuple[Image.Image, ...]:
        """The pictures, decoded now."""
        return decoded(self.item.row.images, self.folder)


@cache  # a process evaluates many models on the same rows
def load(name: str, tables: tuple[TableRef, ...], max_broken: float) -> Loaded:
    """Reads and checks all rows, pictures too.

    Args:
        name: The benchmark.
        tables: Its tables, one a configuration.
        max_broken: Largest share of rows that may be broken.

    Raises:
        UserError: If there is no such table, more rows are broken, or none is left.
    """
    benchmark = BENCHMARKS.get(name)()
    counts: Counter[str] = Counter()
    examples: dict[str, tuple[str, ...]] = {}
    items: list[Item] = []

    def count(reason: str, where: str, what: str) -> None:
        counts[reason] += 1
        if counts[reason] <= _EXAMPLES:
            examples[reason] = (*examples.get(reason, ()), f"{where}: {what}")

    folders = {picture_folder(table) for table in tables}
    if len(folders) != 1:
        raise ValueError("all configurations of a benchmark must share the folder of their pictures")
    (folder,) = folders
    rows = 0
    ids: set[str] = set()
    for place, row in _rows(tables):
        rows += 1
        try:
            items.append(_checked(benchmark, row, folder, ids))
        except BrokenRow as error:
            count(error.reason, place, error.what)
    kept = _with_usable_golds(benchmark, items, count)
    loaded = Loaded(tuple(kept), folder, rows, dict(counts), examples)
    _require_most(name, loaded, max_broken)
    return loaded


def _rows(tables: Sequence[TableRef]) -> Iterator[tuple[str, Row]]:
    """Every row with words for where it is."""
    for table in tables:
        at = f"{table.name}{f' {table.config}' if table.config else ''}"
        for index, row in enumerate(iterate(table)):
            yield f"{at}, row {index}", row


def _checked(benchmark: Benchmark, row: Row, folder: Path, ids: set[str]) -> Item:
    """The item of a row, its pictures and its prompt checked; its id is added to those that are taken."""
    item = benchmark.read(row)
    if item.row.id in ids:
        raise BrokenRow("duplicate_id", f"there is another row '{item.row.id}'")
    marks = benchmark.ask(item).count(IMAGE_MARKER)
    if marks not in (0, len(item.row.images)):
        raise BrokenRow("image_markers", f"{marks} places in the prompt, {len(item.row.images)} pictures")
    decoded(item.row.images, folder)
    ids.add(item.row.id)
    return item


def _with_usable_golds(
    benchmark: Benchmark, items: Sequence[Item], count: Callable[[str, str, str], None]
) -> list[Item]:
    """The items whose gold answers the grader can compare with something."""
    if not benchmark.uses_grader:
        return list(items)
    faults = {fault.id: fault.what for fault in check_golds(asked_of(item.row) for item in items).faults}
    for id, what in faults.items():
        count("gold_not_read", id, what)
    return [item for item in items if item.row.id not in faults]


def _require_most(name: str, loaded: Loaded, max_broken: float) -> None:
    some = "; ".join(text for texts in loaded.examples.values() for text in texts[:1])
    if loaded.rows and loaded.dropped > max_broken * loaded.rows:
        what = f"{loaded.told()}; that is more than a share of {max_broken:g}. {some}"
        fix = "name the right dataset, revision and split for this benchmark, or raise suite.max_broken"
        raise UserError([Fault(f"benchmark {name}", what, fix)])
    if not loaded.items:
        raise UserError([Fault(f"benchmark {name}", f"no row is left: {loaded.told()}. {some}", "name another split")])


def asked_of(row: ProblemRow) -> Asked:
    """What a row asks, for the grader."""
    return Asked(row.id, row.answer, "", row.kind, row.choices, row.precision, row.unit, row.question)


def task_of(benchmark: Benchmark, item: Item, folder: Path, instruction: Instruction) -> BenchmarkTask:
    """The task that asks an item, in the cell that has the benchmark's name."""
    row = item.row
    problem = Problem(
        id=f"{benchmark.name}/{row.id}",
        family=row.family,
        style="",
        images=(),
        question=benchmark.ask(item),
        answer=row.answer,
        answer_type=_voted_as(benchmark, row),
        choices=row.choices,
        precision=row.precision,
        unit=row.unit,
    )
    return BenchmarkTask(f"{problem.id}/{instruction.name}", benchmark.name, problem, instruction, item, folder)


def _voted_as(benchmark: Benchmark, row: ProblemRow) -> str | None:
    """The answer type by which wrong answers are told apart in votes; text, if the benchmark has its own rules."""
    if not benchmark.uses_grader:
        return "word"
    return read_gold(row.answer, row.kind, terms_of(row.choices, row.precision, row.unit, row.question)).name
