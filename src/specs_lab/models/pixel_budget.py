"""Least and most pixels of a picture, in the terms of each family's picture processor."""

from __future__ import annotations

from collections.abc import Callable
from math import isqrt
from typing import Any

from transformers.image_utils import SizeDict

from specs_lab.core.errors import Fault, raise_faults


def set_pixel_budget(pictures: Any, model_type: str, least: int | None, most: int | None) -> None:
    """Changes a picture processor so that it keeps to a budget; nothing changes where both bounds are None.

    Args:
        pictures: The picture processor.
        model_type: ``config.model_type`` of its model.
        least: Smaller pictures are enlarged to this many pixels.
        most: Larger pictures are made smaller, to this many pixels or fewer.

    Raises:
        UserError: If the family has no such bound, or it cannot be kept.
    """
    if least is None and most is None:
        return
    faults = []
    if model_type not in _SETTERS:
        what = f"pictures of a {model_type} are all brought to one size"
        faults = [
            Fault(f"model.{name}", what, "set it to null")
            for name, value in (("min_pixels", least), ("max_pixels", most))
            if value is not None
        ]
    else:
        faults = _SETTERS[model_type](pictures, least, most)
    raise_faults(faults)


def _patches(pictures: Any, least: int | None, most: int | None) -> list[Fault]:
    """Qwen: any grid of patches; the bounds of its area are what the processor has."""
    side = pictures.patch_size * pictures.merge_size
    low = pictures.size["shortest_edge"] if least is None else least
    high = pictures.size["longest_edge"] if most is None else most
    if high < side**2:
        return [_too_small(high, f"one picture token covers {side} x {side}", side**2)]
    if low > high:
        return [Fault("model.min_pixels", f"{low} is more than max_pixels, {high}", "give less, or raise max_pixels")]
    pictures.size = SizeDict(shortest_edge=low, longest_edge=high)
    return []


def _longest_edge(pictures: Any, least: int | None, most: int | None) -> list[Fault]:
    """Idefics3 and SmolVLM: pictures are scaled to one longest edge, whole tiles of it; the overview comes on top."""
    faults = []
    if least is not None:
        what = "pictures are always scaled to the longest edge that max_pixels allows"
        faults.append(Fault("model.min_pixels", what, "set it to null"))
    tile = pictures.max_image_size["longest_edge"]
    if most is not None and most < tile**2:
        faults.append(_too_small(most, f"one tile has {tile} x {tile}", tile**2))
    if not faults and most is not None:
        pictures.size = SizeDict(longest_edge=isqrt(most) // tile * tile)
    return faults


def _tiles(pictures: Any, least: int | None, most: int | None) -> list[Fault]:
    """InternVL: a number of tiles; the overview comes on top."""
    tile = pictures.size["height"] * pictures.size["width"]
    if most is not None and most < tile:
        return [_too_small(most, f"one tile has {pictures.size['height']} x {pictures.size['width']}", tile)]
    fewest = pictures.min_patches if least is None else max(1, -(-least // tile))
    maximum = pictures.max_patches if most is None else most // tile
    if fewest > maximum:
        what = f"{least or 'the checkpoint'} asks for {fewest} tiles of {tile} pixels, max_pixels allows {maximum}"
        return [Fault("model.min_pixels", what, "give less, or raise max_pixels")]
    pictures.min_patches, pictures.max_patches = fewest, maximum
    return []


def _grids(pictures: Any, least: int | None, most: int | None) -> list[Fault]:
    """LLaVA-OneVision: the grids of tiles that a picture may be laid over; the overview comes on top."""
    areas = [height * width for height, width in pictures.image_grid_pinpoints]
    if most is not None and most < min(areas):
        return [_too_small(most, "the smallest grid of tiles is larger", min(areas))]
    if least is not None and least > max(areas):
        what = f"{least} pixels are more than the largest grid of tiles has"
        return [Fault("model.min_pixels", what, f"give at most {max(areas)}")]
    kept = [
        grid
        for grid, area in zip(pictures.image_grid_pinpoints, areas, strict=True)
        if (least is None or area >= least) and (most is None or area <= most)
    ]
    if not kept:
        what = f"no grid of tiles has between {least} and {most} pixels"
        return [Fault("model.min_pixels", what, f"let one of these be between: {sorted(set(areas))}")]
    pictures.image_grid_pinpoints = kept
    return []


def _too_small(given: int, why: str, needed: int) -> Fault:
    return Fault("model.max_pixels", f"{given} is too few: {why}", f"give at least {needed}")


_SETTERS: dict[str, Callable[[Any, int | None, int | None], list[Fault]]] = {
    "qwen2_vl": _patches,
    "qwen2_5_vl": _patches,
    "qwen3_vl": _patches,
    "idefics3": _longest_edge,
    "smolvlm": _longest_edge,
    "internvl": _tiles,
    "llava_onevision": _grids,
}
