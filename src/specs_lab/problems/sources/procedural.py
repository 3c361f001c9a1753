"""Problems drawn by programs, and the cells of distribution shift that they are drawn for.

A *cell* says, for each axis of shift (family, instruction wording or format request, picture style), whether it is in
or out of distribution. The same cells serve training (RL and pairs draw from ``id`` unless told otherwise) and
evaluation; training draws from the training split only.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from specs_lab.core.options import Checks, option
from specs_lab.core.seeding import python_rng
from specs_lab.problems.base import FAMILIES, SPLITS, Split, make_problem
from specs_lab.problems.instructions import INSTRUCTIONS
from specs_lab.problems.styles import STYLES
from specs_lab.problems.tasks import AXIS_VALUES, INSTRUCTION_VALUES, Cell, ProblemSource, Task, TaskRef


@option("problems", "procedural")
@dataclass(kw_only=True)
class ProceduralProblems(ProblemSource):
    """Procedurally rendered problems.

    Attributes:
        families: In-distribution families: what zero and the cold start are trained on.
        ood_families: Out-of-distribution families.
        instructions: In-distribution instruction wordings.
        ood_instructions: Out-of-distribution wordings of the same format request.
        alternative_instructions: Requests for another format.
        styles: In-distribution picture styles.
        ood_styles: Out-of-distribution picture styles.
        cells: The cells by name.
        seed: Stream of problems; the same for all arms and seeds of a study, so that comparisons are paired.
    """

    families: list[str] = field(default_factory=list)
    ood_families: list[str] = field(default_factory=list)
    instructions: list[str] = field(default_factory=list)
    ood_instructions: list[str] = field(default_factory=list)
    alternative_instructions: list[str] = field(default_factory=list)
    styles: list[str] = field(default_factory=list)
    ood_styles: list[str] = field(default_factory=list)
    cells: dict[str, Cell] = field(default_factory=dict)
    seed: int = 0

    def __post_init__(self) -> None:
        checks = Checks()
        known = {
            "families": tuple(FAMILIES.names()),
            "instructions": tuple(INSTRUCTIONS),
            "styles": tuple(STYLES),
        }
        for axis, names in known.items():
            inside, outside = getattr(self, axis), getattr(self, f"ood_{axis}")
            checks.that(bool(inside), axis, "is empty", f"name at least one of: {', '.join(names)}")
            for where, chosen in ((axis, inside), (f"ood_{axis}", outside)):
                for name in chosen:
                    checks.one_of(where, name, names)
            both = sorted(set(inside) & set(outside))
            checks.that(
                not both, f"ood_{axis}", f"{both} is in distribution too", f"remove it from {axis} or from ood_{axis}"
            )
        for name in self.alternative_instructions:
            checks.one_of("alternative_instructions", name, known["instructions"])
        for name, cell in self.cells.items():
            self._check_cell(checks, name, cell)
        checks.done()

    def _check_cell(self, checks: Checks, name: str, cell: Cell) -> None:
        checks.one_of(f"cells.{name}.family", cell.family, AXIS_VALUES)
        checks.one_of(f"cells.{name}.instruction", cell.instruction, INSTRUCTION_VALUES)
        checks.one_of(f"cells.{name}.style", cell.style, AXIS_VALUES)
        for axis, options in self.axes(cell).items():
            checks.that(bool(options), f"cells.{name}.{axis}", "draws from an empty list", f"fill the list of {axis}")

    def axes(self, cell: Cell) -> dict[str, list[str]]:
        """The names that a cell draws from, by axis."""
        wordings = {
            "id": self.instructions,
            "ood": self.ood_instructions,
            "alternative": self.alternative_instructions,
        }
        return {
            "family": self.families if cell.family == "id" else self.ood_families,
            "instruction": wordings.get(cell.instruction, self.instructions),
            "style": self.styles if cell.style == "id" else self.ood_styles,
        }

    def draw_task(self, cell: str, split: Split, stream: str, index: int) -> Task:
        """The ``index``-th task of a cell; depends on the arguments only.

        Families take turns, so that every prefix of the stream is balanced; wordings and styles are drawn at random.
        """
        axes = self.axes(self.cells[cell])
        rng = python_rng("task", self.seed, cell, split, stream, index)
        family = axes["family"][index % len(axes["family"])]
        seed = rng.getrandbits(31)
        problem = make_problem(family, seed=seed, index=index, split=split, style=rng.choice(axes["style"]))
        instruction = INSTRUCTIONS[rng.choice(axes["instruction"])]
        return Task(f"{problem.id}/{instruction.name}", cell, problem, instruction)

    def redraw(self, ref: TaskRef) -> Task:
        """The task of a reference, as :meth:`draw_task` drew it.

        Raises:
            UserError: If there is no such family.
            ValueError: If it is no name of a task.
        """
        parts = ref.id.split("/")
        if len(parts) != 6:
            raise ValueError(f"'{ref.id}' is no name of a task")
        family, split, seed, index, style, wording = parts
        if split not in SPLITS or style not in STYLES or wording not in INSTRUCTIONS:
            raise ValueError(f"'{ref.id}' is no name of a task")
        problem = make_problem(family, seed=int(seed), index=int(index), split=split, style=style)
        return Task(ref.id, ref.cell, problem, INSTRUCTIONS[wording])
