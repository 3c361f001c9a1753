"""Counts what a source of problems holds: rows by what became of them, families, splits, answers, sizes, lengths."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from specs_lab.core.errors import Fault, UserError
from specs_lab.core.progress import Progress
from specs_lab.core.seeding import python_rng
from specs_lab.problems.base import Problem
from specs_lab.problems.tasks import ProblemSource, Task, TaskRef

if TYPE_CHECKING:
    from specs_lab.models.sources.base import ModelOptions

SAMPLES = 12
"""Problems on the sheet of samples."""

Measure = Callable[[Task], tuple[int, int]]
"""Length of a prompt, and how much of it stands for pictures."""


@dataclass
class Overview:
    """What a source of problems holds.

    Attributes:
        rows: Rows of the data that were read; None if problems are drawn by programs, without end.
        broken: Rows that cannot be used, by reason.
        examples: The first of each reason.
        families: Problems by family.
        sides: ``id`` or ``ood``, or empty, by family.
        splits: Problems by split.
        kinds: Problems by type of answer.
        pictures: Problems by number of pictures.
        pixels: Pixels of each problem's pictures together.
        lengths: Length of each drawn prompt, pictures included.
        of_pictures: How much of it stands for pictures, in tokens; zeros in characters.
        unit: What lengths are counted in.
        drawn: How many prompts were drawn.
        samples: Some tasks.
    """

    rows: int | None = None
    broken: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)
    families: Counter[str] = field(default_factory=Counter)
    sides: dict[str, str] = field(default_factory=dict)
    splits: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    pictures: Counter[int] = field(default_factory=Counter)
    pixels: list[int] = field(default_factory=list)
    lengths: list[int] = field(default_factory=list)
    of_pictures: list[int] = field(default_factory=list)
    unit: str = "characters"
    drawn: int = 0
    samples: list[Task] = field(default_factory=list)

    @property
    def kept(self) -> int:
        """Problems that can be used; of endless ones, those that were drawn."""
        return sum(self.splits.values())


def overview(problems: ProblemSource, count: int, measure: Measure, unit: str, progress: Progress) -> Overview:
    """Counts what a source holds.

    Args:
        problems: The source.
        count: How many tasks to draw: for lengths, for samples, and where there are no rows for everything.
        measure: Length of a prompt.
        unit: What that is in.
        progress: Where it is shown.

    Raises:
        UserError: If the data cannot be read, or the source has no cells to draw from.
    """
    result = Overview(unit=unit)
    problems.prepare(progress)
    datasets = list(_datasets(problems))
    for name, dataset in datasets:
        _count_rows(result, name, dataset)
    tasks = [task for _, dataset in datasets for task in _some(dataset, max(1, count // len(datasets)), progress)]
    for split, task in [] if datasets else _drawn(problems, count, progress):
        _count_task(result, split, task)
        tasks.append(task)
    result.drawn = len(tasks)
    measured = [measure(task) for task in tasks]
    result.lengths, result.of_pictures = [length for length, _ in measured], [part for _, part in measured]
    result.samples = _spread(tasks, SAMPLES)
    return result


def _datasets(problems: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """The sources that have rows, with their names within a mixture."""
    if hasattr(problems, "index"):
        yield name, problems
    for part, source in getattr(problems, "parts", {}).items():
        yield from _datasets(source, f"{name}{part}: ")


def _count_rows(result: Overview, name: str, dataset: Any) -> None:
    index = dataset.index
    result.rows = (result.rows or 0) + index.counts.rows
    result.broken.update(index.counts.broken)
    for reason, example in index.counts.examples.items():
        result.examples.setdefault(reason, name + example)
    for entry in index.entries:
        family = name + entry.family
        result.families[family] += 1
        result.sides.setdefault(family, dataset.side_of(entry.family) or "")
        result.splits[entry.split] += 1
        result.kinds[entry.kind] += 1
        result.pictures[entry.images] += 1
        result.pixels.append(entry.pixels)


def _some(dataset: Any, count: int, progress: Progress) -> list[Task]:
    """Tasks of some rows, always the same, in the order of the rows."""
    entries = dataset.index.entries
    chosen = python_rng("inspect").sample(range(len(entries)), min(count, len(entries)))
    picked = [entries[number] for number in sorted(chosen)]
    cell, wording = next(iter(dataset.cells), ""), next(iter(dataset.instructions), "bare")
    tasks = []
    with progress.task("drawing", len(picked)) as advance:
        for entry in picked:
            tasks.append(dataset.redraw(TaskRef(f"{entry.id}/plain/{wording}", cell)))
            advance()
    return tasks


def _drawn(problems: ProblemSource, count: int, progress: Progress) -> Iterator[tuple[str, Task]]:
    """Tasks of every cell in turn, with their splits."""
    cells = list(problems.cells)
    if not cells:
        raise UserError([Fault("problems.cells", "is empty", "name at least one cell")])
    with progress.task("drawing", count) as advance:
        for number in range(count):
            cell = cells[number % len(cells)]
            split = problems.evaluation_split(cell)
            yield split, problems.draw_task(cell, split, "inspect", number // len(cells))
            advance()


def _count_task(result: Overview, split: str, task: Task) -> None:
    problem = task.problem
    result.families[problem.family] += 1
    result.splits[split] += 1
    result.kinds[kind_of(problem)] += 1
    result.pictures[len(task.images)] += 1
    result.pixels.append(sum(image.width * image.height for image in task.images))


def kind_of(problem: Problem) -> str:
    """The type of a problem's answer, told from the answer if the problem does not say it."""
    from specs_lab.rewards.inference import infer_kind

    return problem.answer_type or infer_kind(problem.answer, problem.choices, problem.unit)


def _spread(tasks: list[Task], count: int) -> list[Task]:
    """Tasks of as many families as possible, early ones first, families together."""
    turns: Counter[str] = Counter()
    order = []
    for number, task in enumerate(tasks):
        order.append((turns[task.problem.family], number))
        turns[task.problem.family] += 1
    chosen = [tasks[number] for _, number in sorted(order)[:count]]
    return sorted(chosen, key=lambda task: task.problem.family)


def measure_of(model: ModelOptions | None) -> tuple[Measure, str]:
    """How long prompts are for a model: in its tokens, pictures included, if it is on this machine, else in characters.

    Args:
        model: The study's base model.
    """
    if model is None or _is_of_the_hub(model):
        return (lambda task: (len(task.text), 0)), "characters"
    from specs_lab.core.pictures import laid_out
    from specs_lab.models.processing import load_processor

    processor = load_processor(model.folder, model.setup())

    picture = processor.tokenizer.convert_tokens_to_ids(processor.image_token)

    def tokens(task: Task) -> tuple[int, int]:
        parts = laid_out(task.text, task.images)
        content = [{"type": "text", "text": part} if isinstance(part, str) else {"type": "image"} for part in parts]
        turn = processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)
        if task.images:
            ids = processor(text=[turn], images=[list(task.images)], add_special_tokens=False)["input_ids"][0]
        else:
            ids = processor.tokenizer(turn, add_special_tokens=False)["input_ids"]
        return len(ids), sum(int(one) == picture for one in ids)

    return tokens, "tokens"


def _is_of_the_hub(model: ModelOptions) -> bool:
    try:
        return model.identity() is not None
    except UserError:  # the hub cannot be asked for a name, which is not needed here
        return True
