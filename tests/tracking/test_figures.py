"""Figures show what the tables hold, and are the same every time."""

import re
from itertools import pairwise

import matplotlib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from specs_lab.tracking.drawing import COLOURS, _spread, line_styles
from specs_lab.tracking.figures import draw_curves, draw_rl
from specs_lab.tracking.frames import load_sweep
from specs_lab.tracking.report import estimate


@pytest.fixture
def summary(sweep):
    for arm in ("sft", "dpo"):
        sweep.study(arm, 0)
    return estimate(sweep.folder, load_sweep(sweep.jobs), resamples=100)


@pytest.mark.parametrize("metric", ["format", "joint"])
def test_curves_are_drawn_in_the_colour_of_their_arm(summary, tmp_path, metric):
    png, svg = draw_curves(summary.table, summary.readings, tmp_path / "curves", metric=metric)
    with Image.open(png) as image:
        assert image.width >= 1200
        pixels = {tuple(int(v) for v in pixel) for pixel in np.asarray(image.convert("RGB")).reshape(-1, 3)}
    for colour in COLOURS[:2]:
        assert tuple(int(colour[i : i + 2], 16) for i in (1, 3, 5)) in pixels
        assert colour.lower() in svg.read_text()
    assert COLOURS[2].lower() not in svg.read_text()


def test_figures_carry_no_date_and_repeat_exactly(summary, tmp_path):
    first = [path.read_bytes() for path in draw_curves(summary.table, summary.readings, tmp_path / "a")]
    second = [path.read_bytes() for path in draw_curves(summary.table, summary.readings, tmp_path / "b")]
    assert first == second
    assert not re.search(rb"<dc:date>", first[1])


def test_rl_needs_rows_of_its_stage(summary, tmp_path):
    rows = summary.sweep.rows
    assert [path.name for path in draw_rl(rows, tmp_path / "rl")] == ["rl.png", "rl.svg"]
    assert draw_rl(rows, tmp_path / "other", stage="zero") == []
    assert draw_rl(rows.iloc[:0], tmp_path / "none") == []


def test_the_users_matplotlib_settings_stay_theirs(summary, tmp_path):
    with matplotlib.rc_context({"font.size": 33.0}):
        first, _ = draw_rl(summary.sweep.rows, tmp_path / "a")
        assert matplotlib.rcParams["font.size"] == 33.0
    second, _ = draw_rl(summary.sweep.rows, tmp_path / "b")
    assert first.read_bytes() == second.read_bytes()


def test_an_arm_has_the_same_colour_in_every_figure(summary, tmp_path):
    """The first arm of the RL figure is the second of the sweep when one without RL comes before it."""
    arms = list(dict.fromkeys(summary.sweep.rows["arm"]))
    alone, _ = draw_rl(summary.sweep.rows, tmp_path / "a", among=arms)
    same, _ = draw_rl(summary.sweep.rows, tmp_path / "b")
    shifted, _ = draw_rl(summary.sweep.rows, tmp_path / "c", among=["another", *arms])
    assert alone.read_bytes() == same.read_bytes() != shifted.read_bytes()


def test_more_arms_than_colours_are_told_apart_by_dashes():
    styles = line_styles([f"arm {i}" for i in range(2 * len(COLOURS))]).values()
    assert len({(style["color"], str(style["linestyle"])) for style in styles}) == 2 * len(COLOURS)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8).map(sorted))
def test_labels_never_overlap_and_stay_in_the_panel(heights):
    spread = _spread(heights, gap=0.1)
    assert all(b - a >= 0.1 - 1e-9 for a, b in pairwise(spread))
    assert spread[0] >= -1e-9
    assert spread[-1] <= 1 + 1e-9


def test_labels_far_apart_do_not_move():
    assert _spread([0.1, 0.5, 0.9], gap=0.1) == pytest.approx([0.1, 0.5, 0.9])
