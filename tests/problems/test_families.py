"""Gold answers, worked out again by other means: from what the cells show, and from the pixels."""

import math
import re
from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest

from specs_lab.problems.base import FAMILIES, Problem, make_problem
from specs_lab.problems.scenes import cell_name
from specs_lab.problems.styles import COLOURS, STYLES

DRAWS = 60
SCENE_FAMILIES = ("add", "compare", "count", "locate")
CHART_FAMILIES = ("bar", "bar_max", "bar_sum")


def colours_in(question: str) -> list[str]:
    return [word.strip("?") for word in question.split() if word.strip("?") in COLOURS]


def counts(problem: Problem) -> list[int]:
    return [sum(cell.startswith(colour) for cell in problem.cells) for colour in colours_in(problem.question)]


def bars(problem: Problem) -> dict[str, int]:
    return {cell.split()[0]: int(cell.split()[-1]) for cell in problem.cells}


def solve_compare(problem: Problem) -> str:
    (first, second), (m, n) = colours_in(problem.question), counts(problem)
    return "equal" if m == n else first if m > n else second


def solve_expression(problem: Problem) -> str:
    m, sign, _, n = (cell.split()[1] for cell in problem.cells[:4])
    return str(int(m) + int(n) if sign == "+" else int(m) - int(n))


def solve_arrow(problem: Problem) -> str:
    options = dict(re.findall(r"(\w+) ([A-D])\b", problem.question))
    return options[problem.cells[0].removeprefix("arrow ")]


def solve_later(problem: Problem) -> str:
    hour = int(problem.cells[0].removeprefix("hour "))
    return str((hour + int(problem.question.split()[-2]) - 1) % 12 + 1)


def named_cell(problem: Problem) -> str:
    names = [cell_name(cell) for cell in range(16)]
    return problem.cells[names.index(problem.question.split()[-1].strip("?"))]


SOLVERS: dict[str, Callable[[Problem], str]] = {
    "add": lambda p: str(sum(counts(p))),
    "arrow": solve_arrow,
    "bar": lambda p: str(bars(p)[colours_in(p.question)[0]]),
    "bar_max": lambda p: max(bars(p), key=lambda colour: bars(p)[colour]),
    "bar_sum": lambda p: str(sum(bars(p)[colour] for colour in colours_in(p.question))),
    "clock": lambda p: p.cells[0].removeprefix("hour "),
    "compare": solve_compare,
    "count": lambda p: str(counts(p)[0]),
    "digits": lambda p: str(sum(int(p.cells[column].split()[1]) for column in (0, 2))),
    "expression": solve_expression,
    "later": solve_later,
    "locate": named_cell,
}


def test_every_family_has_an_independent_solver():
    assert set(SOLVERS) == set(FAMILIES)


@pytest.mark.parametrize("family", SOLVERS)
def test_the_gold_answer_follows_from_what_is_shown(family: str):
    for index in range(DRAWS):
        problem = make_problem(family, seed=20, index=index)
        assert SOLVERS[family](problem) == problem.answer


@pytest.mark.parametrize("family", SOLVERS)
def test_the_derivation_arrives_at_the_answer(family: str):
    """It ends with the answer; where numbers decide, they stand before it."""
    for index in range(DRAWS):
        problem = make_problem(family, seed=21, index=index)
        assert re.search(rf"(?<![\w]){problem.answer}$", problem.reasoning)
        if family == "compare":
            m, n = re.search(r"(\d+) vs (\d+) \w+$", problem.reasoning).groups()  # pyright: ignore
            assert [int(m), int(n)] == counts(problem)
        elif family == "bar_max":
            assert problem.reasoning.endswith(f"highest {max(bars(problem).values())} {problem.answer}")


@pytest.mark.parametrize("family", SOLVERS)
def test_every_sum_in_a_derivation_is_right(family: str):
    for index in range(DRAWS):
        problem = make_problem(family, seed=22, index=index)
        for m, sign, n, result in re.findall(r"(\d+)([+-])(\d+)=(\d+)", problem.reasoning):
            assert int(m) + int(f"{sign}{n}") == int(result)


@pytest.mark.parametrize("family", SCENE_FAMILIES)
def test_derivations_list_the_cells_that_hold_a_colour(family: str):
    for index in range(DRAWS):
        problem = make_problem(family, seed=23, index=index)
        for colour, listed in re.findall(r"(\w+): ([a-d1-4 ]+|none)", problem.reasoning):
            shown = [cell_name(i) for i, cell in enumerate(problem.cells) if cell.startswith(colour)]
            assert listed.split() == (shown or ["none"])


def nearest_colour(pixels: np.ndarray, style: str) -> np.ndarray:
    """For each pixel the index of its colour name, or -1 for background and ink."""
    look = STYLES[style]
    known = np.array([look.background, look.ink, *(look.palette[colour] for colour in COLOURS)], dtype=float)
    distance = ((pixels[..., None, :].astype(float) - known) ** 2).sum(-1)
    return np.maximum(distance.argmin(-1) - 2, -1)


def test_scenes_show_what_their_cells_say():
    """In the plain style every cell of 16 x 16 pixels is one vision token."""
    for index in range(30):
        problem = make_problem("count", seed=24, index=index)
        names = nearest_colour(np.asarray(problem.image), "plain")
        for cell, shown in enumerate(problem.cells):
            row, column = divmod(cell, 4)
            inside = names[row * 16 : row * 16 + 16, column * 16 : column * 16 + 16]
            found = Counter(inside[inside >= 0].tolist())
            assert [COLOURS[i] for i in found] == ([] if shown == "empty" else [shown.split()[0]])


def test_shapes_can_be_told_apart_by_the_share_of_their_box_that_is_filled():
    shares = {"square": 1.0, "circle": math.pi / 4, "triangle": 0.5}
    for index in range(30):
        problem = make_problem("locate", seed=25, index=index)
        names = nearest_colour(np.asarray(problem.image), "plain")
        for cell, shown in enumerate(problem.cells):
            if shown == "empty":
                continue
            row, column = divmod(cell, 4)
            rows, columns = np.nonzero(names[row * 16 : row * 16 + 16, column * 16 : column * 16 + 16] >= 0)
            share = len(rows) / (np.ptp(rows) + 1) / (np.ptp(columns) + 1)
            assert min(shares, key=lambda shape: abs(shares[shape] - share)) == shown.split()[1]


def test_bars_are_as_high_as_their_values():
    for index in range(30):
        problem = make_problem("bar", seed=26, index=index)
        names = nearest_colour(np.asarray(problem.image), "plain")
        for colour, value in bars(problem).items():
            rows, columns = np.nonzero(names == COLOURS.index(colour))
            assert (np.ptp(rows) + 1, np.ptp(columns) + 1) == (6 * value + 1, 11)
            assert problem.cells[int(columns.min()) // 16].startswith(colour)


def test_the_tallest_bar_is_unique():
    for index in range(DRAWS):
        values = sorted(bars(make_problem("bar_max", seed=27, index=index)).values())
        assert values[-1] > values[-2]


def test_hands_point_to_their_hours():
    """The direction from the middle to the centre of gravity of the hand's pixels, rounded to full hours."""
    for index in range(DRAWS):
        problem = make_problem("clock", seed=28, index=index)
        rows, columns = np.nonzero(nearest_colour(np.asarray(problem.image), "plain") >= 0)
        angle = math.degrees(math.atan2(columns.mean() - 32, 32 - rows.mean()))
        assert str((round(angle / 30) - 1) % 12 + 1) == problem.answer


def test_later_wraps_at_twelve_and_expression_never_goes_below_zero():
    laters = [make_problem("later", seed=29, index=index) for index in range(DRAWS)]
    assert all(1 <= int(problem.answer) <= 12 for problem in laters)
    assert any("-12=" in problem.reasoning for problem in laters)
    assert any("-12=" not in problem.reasoning for problem in laters)
    assert all(int(make_problem("expression", seed=29, index=index).answer) >= 0 for index in range(DRAWS))


def test_choices_are_shuffled():
    answers = Counter(make_problem("arrow", seed=30, index=index).answer for index in range(200))
    assert set(answers) == set("ABCD")
    assert max(answers.values()) < 80


def test_every_style_has_every_colour_and_keeps_them_apart():
    for style in STYLES.values():
        assert set(style.palette) == set(COLOURS)
        looks = [style.background, style.ink, *style.palette.values()]
        distances = [math.dist(a, b) for i, a in enumerate(looks) for b in looks[:i]]
        assert min(distances) > 40
