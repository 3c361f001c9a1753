"""Pictures that several families ask about: coloured shapes in a 4 x 4 grid, and bar charts."""

from __future__ import annotations

import random
from dataclasses import dataclass

from specs_lab.problems.canvas import Canvas
from specs_lab.problems.styles import COLOURS

SHAPES = ("circle", "square", "triangle")
CELL = 16
COLUMNS = 4


def cell_name(cell: int) -> str:
    """Chess-like name of a cell: column letter, row number; ``a1`` is top left."""
    return "abcd"[cell % COLUMNS] + str(cell // COLUMNS + 1)


@dataclass(frozen=True)
class Thing:
    """A shape in a cell; ``box`` is (left, top, side) in pixels."""

    cell: int
    colour: str
    shape: str
    box: tuple[int, int, int]


@dataclass(frozen=True)
class Scene:
    """Coloured shapes, at most one a cell, in reading order."""

    things: tuple[Thing, ...]

    @classmethod
    def draw(cls, rng: random.Random, fewest: int = 3, most: int = 8) -> Scene:
        """A random scene."""
        things = []
        for cell in sorted(rng.sample(range(COLUMNS * COLUMNS), rng.randint(fewest, most))):
            x, y = cell % COLUMNS * CELL, cell // COLUMNS * CELL
            box = (x + rng.randint(1, 3), y + rng.randint(1, 3), rng.randint(10, 12))
            things.append(Thing(cell, rng.choice(COLOURS), rng.choice(SHAPES), box))
        return cls(tuple(things))

    def paint(self, canvas: Canvas) -> None:
        """Draws the scene."""
        for thing in self.things:
            x, y, side = thing.box
            if thing.shape == "circle":
                canvas.ellipse((x, y, x + side, y + side), thing.colour)
            elif thing.shape == "square":
                canvas.rectangle((x, y, x + side, y + side), thing.colour)
            else:
                canvas.polygon([(x + side / 2, y), (x, y + side), (x + side, y + side)], thing.colour)

    def where(self, colour: str) -> list[str]:
        """Names of the cells that hold a thing of this colour, in reading order."""
        return [cell_name(thing.cell) for thing in self.things if thing.colour == colour]

    def listing(self, colour: str) -> str:
        """``red: a1 c3``, the way the reasoning of all scene families lists things."""
        return f"{colour}: {' '.join(self.where(colour)) or 'none'}"

    @property
    def key(self) -> str:
        """Identifies the content (not the exact pixels)."""
        return " ".join(f"{cell_name(t.cell)}-{t.colour}-{t.shape}" for t in self.things)

    @property
    def cells(self) -> tuple[str, ...]:
        """What each cell shows."""
        shown = {thing.cell: f"{thing.colour} {thing.shape}" for thing in self.things}
        return tuple(shown.get(cell, "empty") for cell in range(COLUMNS * COLUMNS))


@dataclass(frozen=True)
class Chart:
    """A bar chart with one bar of each colour, values 1 to 9; ``left`` is the left edge of each bar."""

    order: tuple[str, ...]
    values: dict[str, int]
    left: tuple[int, ...]

    @classmethod
    def draw(cls, rng: random.Random) -> Chart:
        """A random chart."""
        order = rng.sample(COLOURS, len(COLOURS))
        values = {colour: rng.randint(1, 9) for colour in order}
        return cls(tuple(order), values, tuple(k * CELL + rng.randint(2, 4) for k in range(len(order))))

    def paint(self, canvas: Canvas) -> None:
        """Draws the chart."""
        for colour, left in zip(self.order, self.left, strict=True):
            canvas.rectangle((left, 62 - 6 * self.values[colour], left + 10, 62), colour)
        canvas.line((0, 63), (63, 63))

    @property
    def key(self) -> str:
        """Identifies the content (not the exact pixels)."""
        return " ".join(f"{colour}-{self.values[colour]}" for colour in self.order)

    @property
    def cells(self) -> tuple[str, ...]:
        """What each cell shows: the bar of its column."""
        return tuple(f"{c} bar {self.values[c]}" for c in self.order) * COLUMNS
