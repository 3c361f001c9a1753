"""Pictures from outside are decoded as they look, and refused before they can do harm."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from specs_lab.core.pictures import MAX_PIXELS, UnreadablePicture, decode_picture, picture_size


def written(image: Image.Image, kind: str) -> bytes:
    content = io.BytesIO()
    image.save(content, kind)
    return content.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_grey_of_sixteen_bits_keeps_its_shades(tmp_path: Path, kind: str):
    shades = np.arange(0, 65_536, 16, dtype=np.uint16).reshape(64, 64)
    decoded = np.asarray(decode_picture(written(Image.fromarray(shades), kind), tmp_path))
    assert np.array_equal(decoded, np.repeat((shades >> 8)[..., None], 3, axis=-1))


def test_the_size_is_read_without_decoding(tmp_path: Path):
    content = written(Image.new("RGB", (300, 200)), "PNG")
    assert picture_size(content[: len(content) // 2], tmp_path) == (300, 200)
    assert picture_size({"bytes": content, "path": None}, tmp_path) == (300, 200)


def test_what_is_huge_or_of_an_unknown_kind_has_no_size_either(tmp_path: Path):
    huge = written(Image.new("1", (8192, MAX_PIXELS // 8192 + 1)), "PNG")
    for content, what in ((huge, "is the most"), (written(Image.new("RGB", (8, 8)), "PPM"), "is no readable")):
        for read in (picture_size, decode_picture):
            with pytest.raises(UnreadablePicture, match=what):
                read(content, tmp_path)
