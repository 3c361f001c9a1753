"""Looks of pictures: other pixels of the same size, in which colours still differ."""

import numpy as np
import pytest
from PIL import Image

from specs_lab.problems.filters import FILTERS


@pytest.fixture
def image() -> Image.Image:
    halves = np.zeros((40, 60, 3), np.uint8)
    halves[:, :30], halves[:, 30:] = (220, 30, 30), (30, 60, 220)
    return Image.fromarray(halves)


@pytest.mark.parametrize("name", sorted(FILTERS))
def test_a_look_keeps_size_and_colours_apart(name: str, image: Image.Image):
    changed = FILTERS[name](image)
    assert (changed.size, changed.mode) == (image.size, "RGB")
    assert (changed.tobytes() == image.tobytes()) == (name == "plain")
    left, right = (np.asarray(changed)[20, column].astype(int) for column in (10, 50))
    assert left[0] > right[0] + 40
    assert right[2] > left[2] + 40


@pytest.mark.parametrize("name", sorted(FILTERS))
def test_a_look_is_the_same_each_time(name: str, image: Image.Image):
    assert FILTERS[name](image).tobytes() == FILTERS[name](image).tobytes()
