"""Decodes pictures that come from outside: nothing outside the data's folder is read, nothing huge is unpacked."""

from __future__ import annotations

import io
import struct
import warnings
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, TypeVar, cast

from PIL import Image, ImageOps

T = TypeVar("T")
MAX_PIXELS = 2**25
"""Largest picture, in pixels: 100 MB when unpacked. A few kilobytes can claim to be far more."""
MAX_BYTES = 2**28
"""Largest file of a picture: what the largest picture takes unpacked, twice over."""
IMAGE_MARKER = "<image>"
"""Where in a text a picture goes, as datasets and trainers write it."""
_FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")
_BROKEN = (OSError, SyntaxError, ValueError, EOFError, struct.error, ArithmeticError, LookupError, TypeError)
"""What Pillow raises for broken files."""
_TRANSPARENT = ("RGBA", "LA", "PA", "RGBa", "La")


class UnreadablePicture(Exception):
    """A picture that cannot be used; the text says why."""


def laid_out(text: str, images: Sequence[T]) -> list[str | T]:
    """A text and its pictures, in the order in which they are shown.

    Each :data:`IMAGE_MARKER` in the text is the place of a picture if there are as many of them as pictures; otherwise
    the pictures stand before the text, in which a marker means nothing.

    Args:
        text: The text.
        images: Its pictures, or whatever stands for them.
    """
    parts = text.split(IMAGE_MARKER)
    if not images or len(parts) - 1 != len(images):
        return [*images, text]
    shown: list[str | T] = [parts[0]] if parts[0] else []
    for image, part in zip(images, parts[1:], strict=True):
        shown += [image, part] if part else [image]
    return shown


def decode_picture(value: Any, folder: Path) -> Image.Image:
    """Decodes a picture as a cell of a table holds it.

    Transparent parts become white, and what a camera noted about being held sideways is applied.

    Args:
        value: The bytes of a picture file, a path relative to ``folder``, or a mapping with ``bytes`` or ``path``, as
            the `datasets` library writes it.
        folder: Where paths start; they may not leave it, by ``..`` or by a link.

    Returns:
        The picture, RGB.

    Raises:
        UnreadablePicture: If it is none of these, has more than :data:`MAX_PIXELS`, or cannot be decoded.
    """
    with _opened(value, folder) as image:
        return _opaque(_of_eight_bits(ImageOps.exif_transpose(image)))


def picture_size(value: Any, folder: Path) -> tuple[int, int]:
    """(width, height) of a picture file, from its head alone, before it is turned upright.

    Args:
        value: As :func:`decode_picture` takes it.
        folder: Where paths start.

    Raises:
        UnreadablePicture: If it has no readable head, or more than :data:`MAX_PIXELS`.
    """
    with _opened(value, folder) as image:
        return image.size


@contextmanager
def _opened(value: Any, folder: Path) -> Generator[Image.Image]:
    """A picture file whose pixels are not decoded yet.

    Raises:
        UnreadablePicture: If it is too large, or cannot be opened, or decoded within the context.
    """
    content = picture_bytes(value, folder)
    try:
        # Pillow warns of huge pictures before it refuses even larger ones; here both are the same refusal. What it
        # remarks about metadata does not matter.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(content), formats=_FORMATS) as image:
                if image.width * image.height > MAX_PIXELS:
                    raise UnreadablePicture(f"has {image.width} x {image.height} pixels; {MAX_PIXELS} is the most")
                yield image
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise UnreadablePicture(f"has more pixels than {MAX_PIXELS}, the most") from error
    except _BROKEN as error:
        raise UnreadablePicture(f"is no readable {', '.join(_FORMATS)} file") from error


def _of_eight_bits(image: Image.Image) -> Image.Image:
    """Grey of 16 bits, as some scanners and microscopes write it, made grey of 8; Pillow would clip it to white."""
    if not image.mode.startswith("I;16"):
        return image
    return image.convert("I").point(lambda grey: grey / 256).convert("L")


def _opaque(image: Image.Image) -> Image.Image:
    if image.mode not in _TRANSPARENT and "transparency" not in image.info:
        return image.convert("RGB")
    layer = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")


def picture_bytes(value: Any, folder: Path) -> bytes:
    """The bytes of a picture file, as :func:`decode_picture` takes it.

    Raises:
        UnreadablePicture: If there are none.
    """
    if isinstance(value, Mapping):
        cell = cast("Mapping[str, Any]", value)
        value = cell.get("path") if cell.get("bytes") is None else cell["bytes"]
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        return _read_inside(value, folder)
    raise UnreadablePicture("holds neither bytes nor a path")


def _read_inside(text: str, folder: Path) -> bytes:
    """The bytes of a file below ``folder``."""
    outside = UnreadablePicture(f"'{text}' leaves the folder of the data file")
    if not text or "\0" in text or "://" in text:
        raise UnreadablePicture(f"{text!r} is no path of a file")
    if PurePosixPath(text).is_absolute() or PureWindowsPath(text).anchor or ".." in PureWindowsPath(text).parts:
        raise outside
    path = folder / text
    if not path.resolve().is_relative_to(folder.resolve()):
        raise outside
    if not path.is_file():
        raise UnreadablePicture(f"there is no file '{text}' beside the data file")
    try:
        if path.stat().st_size > MAX_BYTES:
            raise UnreadablePicture(f"is a file of {path.stat().st_size} bytes; {MAX_BYTES} is the most")
        return path.read_bytes()
    except OSError as error:
        raise UnreadablePicture(f"the file '{text}' cannot be read ({error.strerror})") from error
