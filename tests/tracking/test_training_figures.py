"""Figures of training show every RL stage, and the margins of cold starts that compare pairs."""

import pytest

from specs_lab.core.budget import Budget
from specs_lab.tracking.drawing import COLOURS
from specs_lab.tracking.frames import load_sweep, select
from specs_lab.tracking.rows import RowWriter
from specs_lab.tracking.training_figures import draw_margins, draw_training


@pytest.fixture
def rows(sweep):
    """Two arms, two seeds, RL twice; `dpo` writes the rewards of both sides, and zero is shared."""
    for seed in (0, 1):
        zero = sweep.rl(f"zero{seed}", 0.1)
        for arm in ("sft", "dpo"):
            cold = sweep.artifact("coldstart", f"{arm}{seed}")
            sides = (("chosen", 0.1), ("rejected", -0.2), ("margin", 0.3)) if arm == "dpo" else ()
            with RowWriter(cold / "rows.csv") as file:
                for step in range(1, 20):
                    file.add(step=step, metric="train/loss", value=1 / step, budget=Budget(), n=8)
                    for side, slope in sides:
                        file.add(step=step, metric=f"train/reward_{side}", value=slope * step, budget=Budget(), n=8)
            final = sweep.rl(f"final-{arm}-{seed}", 0.5)
            sweep.job(arm, seed, {"zero": ("rl", zero), "cold": ("coldstart", cold), "final": ("rl", final)})
    return load_sweep(sweep.jobs).rows


def test_training_is_drawn_with_the_colours_of_the_arms(rows, tmp_path):
    png, svg = draw_training(rows, tmp_path / "training", among=["none", "sft", "dpo"])
    assert (png.name, svg.name) == ("training.png", "training.svg")
    drawn = svg.read_text()
    assert COLOURS[0].lower() not in drawn  # an arm without RL
    assert all(colour.lower() in drawn for colour in COLOURS[1:3])


def test_margins_are_drawn_of_preferences_alone(rows, tmp_path):
    _, svg = draw_margins(rows, tmp_path / "margins", among=["sft", "dpo"])
    drawn = svg.read_text()
    assert COLOURS[1].lower() in drawn
    assert COLOURS[0].lower() not in drawn


def test_nothing_is_drawn_of_nothing(rows, tmp_path):
    assert draw_margins(select(rows, arm="sft"), tmp_path / "margins") == []
    assert draw_training(select(rows, kind="coldstart"), tmp_path / "training") == []
    assert draw_training(rows.iloc[:0], tmp_path / "training") == []


def test_figures_repeat_exactly(rows, tmp_path):
    first = [path.read_bytes() for path in draw_training(rows, tmp_path / "a")]
    assert first == [path.read_bytes() for path in draw_training(rows, tmp_path / "b")]
