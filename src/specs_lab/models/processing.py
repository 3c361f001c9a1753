"""Processors of checkpoint folders, read and written with or without torchvision; a fast path for small pictures.

A folder is read by its model's type, whatever class its files name: ``AutoProcessor`` gives a bare tokenizer, without
a word, where it does not know that name. It is written under the stock names, so that transformers (with torchvision,
which its own classes need), TRL and vLLM read it.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import transformers
from transformers import AutoProcessor, AutoTokenizer, Qwen2VLImageProcessorPil
from transformers.processing_utils import ProcessorMixin

from specs_lab.core.errors import Fault, UserError, raise_faults
from specs_lab.models.image_only import PARTS, ImageOnlyQwen2_5_VLProcessor, Parts, parts_of
from specs_lab.models.pixel_budget import set_pixel_budget
from specs_lab.models.setup import ModelSetup

__all__ = [
    "IMAGE_TOKEN",
    "VIDEO_TOKEN",
    "ImageOnlyQwen2_5_VLProcessor",
    "load_processor",
    "needs_no_resizing",
    "patchify",
    "save_processor",
]

IMAGE_TOKEN = "<|image_pad|>"
VIDEO_TOKEN = "<|video_pad|>"
_VIDEO_FILE = "video_preprocessor_config.json"
_SHARED_WITH_VIDEO = (
    "do_resize",
    "do_rescale",
    "do_normalize",
    "do_convert_rgb",
    "rescale_factor",
    "resample",
    "image_mean",
    "image_std",
    "size",
    "patch_size",
    "temporal_patch_size",
    "merge_size",
    "max_image_size",
)
"""What a video processor is told of the pictures where a checkpoint has no configuration of its own for it."""


def load_processor(folder: str | Path, setup: ModelSetup | None = None) -> Any:
    """The processor of a checkpoint folder; no remote code, no network.

    Args:
        folder: The folder.
        setup: Gives the pixel budget and what scales pictures.

    Raises:
        UserError: If the folder lacks something, or the setup cannot be kept.
    """
    folder, setup = Path(folder), setup or ModelSetup()
    local: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    model_type = _model_type(folder)
    parts = PARTS.get(model_type)
    if parts is None:
        return _of_unknown_type(folder, model_type, setup, local)
    raise_faults(_missing(folder))
    pictures = _pictures_class(parts, setup.image_backend).from_pretrained(folder, local_files_only=True)
    set_pixel_budget(pictures, model_type, setup.min_pixels, setup.max_pixels)
    tokenizer = AutoTokenizer.from_pretrained(folder, **local)
    settings, _ = parts.processor.get_processor_dict(folder, local_files_only=True)
    settings.setdefault("chat_template", tokenizer.chat_template)
    if settings["chat_template"] is None:
        what = "has no chat template, so there is no telling how it is to be asked"
        raise UserError([Fault(str(folder), what, "use an instruction-tuned checkpoint, or add chat_template.jinja")])
    processor: Any = parts.processor.from_args_and_dict([pictures, tokenizer], settings)
    processor.specs_lab_video = _video_settings(folder, settings)
    return processor


def _model_type(folder: Path) -> str:
    """Of the folder's model, whatever transformers makes of it."""
    file = folder / "config.json"
    found = json.loads(file.read_text(encoding="utf-8")).get("model_type") if file.is_file() else None
    if found is None:
        what = "has no config.json that names the type of a model"
        raise UserError([Fault(str(folder), what, "give a complete checkpoint folder")])
    return found


def refuse_code(folder: str | Path) -> None:
    """Refuses a checkpoint that cannot be loaded without code which it brings, or has fetched: none is ever run.

    Raises:
        UserError: If its type is unknown to transformers, or its attention is to come from a repository.
    """
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    model_type = _model_type(Path(folder))
    config = json.loads((Path(folder) / "config.json").read_text(encoding="utf-8"))
    if model_type not in CONFIG_MAPPING:
        what = f"is of type '{model_type}', which transformers does not know; code that it brings is not run"
        raise UserError([Fault(str(folder), what, "use a model that transformers has a class for, or upgrade it")])
    if kernels := sorted(_kernels(config)):
        what = f"asks for the attention '{kernels[0]}', code of the hub, which is not run"
        raise UserError([Fault(str(folder), what, "remove attn_implementation from its config.json")])


def _kernels(config: Any) -> Iterator[str]:
    """Names of repositories that a configuration, or a part of it, takes its attention from."""
    for key, value in config.items():
        if isinstance(value, dict):
            yield from _kernels(value)
        elif "attn_implementation" in key and isinstance(value, str) and "/" in value:
            yield value


def _missing(folder: Path) -> list[Fault]:
    """Faults for the files that a processor cannot do without."""
    configured = any((folder / name).is_file() for name in ("processor_config.json", "preprocessor_config.json"))
    tokenized = any((folder / name).is_file() for name in ("tokenizer.json", "tokenizer.model", "vocab.json"))
    faults = []
    for there, what in ((configured, "picture processor (preprocessor_config.json)"), (tokenized, "tokenizer")):
        if not there:
            faults.append(Fault(str(folder), f"has no {what}", "give a complete checkpoint folder"))
    return faults


def _pictures_class(parts: Parts, backend: str) -> Any:
    """The class that scales and normalises pictures."""
    if backend == "pil":
        return getattr(transformers, f"{parts.pictures}Pil")
    try:
        importlib.import_module("torchvision")
    except (ImportError, RuntimeError) as error:  # the latter where it was built for another torch
        said = " ".join(str(error).split())
        what = f"torchvision is asked for and cannot be imported: {said}"
        fault = Fault("model.image_backend", what, "install the torchvision of this torch, or set image_backend=pil")
        raise UserError([fault]) from error
    return getattr(transformers, parts.pictures)


def _of_unknown_type(folder: Path, model_type: str, setup: ModelSetup, local: dict[str, Any]) -> Any:
    """What transformers finds by itself; a bare tokenizer is not taken for a processor."""
    if setup.min_pixels is not None or setup.max_pixels is not None:
        what = f"models of type {model_type} are not known to specs_lab, so their pixel budget cannot be set"
        raise UserError([Fault("model.max_pixels", what, "set min_pixels and max_pixels to null")])
    processor: Any = AutoProcessor.from_pretrained(folder, **local)
    if not isinstance(processor, ProcessorMixin) or not hasattr(processor, "image_processor"):
        what = f"of its processor (model type {model_type}) transformers gives only a {type(processor).__name__}"
        raise UserError([Fault(str(folder), what, f"use a model of one of these types: {', '.join(PARTS)}")])
    return processor


def _video_settings(folder: Path, settings: dict[str, Any]) -> dict[str, Any] | None:
    """What the checkpoint says of videos, to be handed on; None if it says nothing. Found where transformers looks."""
    if "video_processor" in settings:
        return dict(settings["video_processor"])
    for file in (folder / _VIDEO_FILE, folder / "preprocessor_config.json"):
        if file.is_file():
            found = json.loads(file.read_text(encoding="utf-8"))
            return {name: value for name, value in found.items() if name != "image_processor_type"}
    return None


def save_processor(processor: Any, folder: str | Path) -> None:
    """Writes a processor under the stock names, which transformers, TRL and vLLM know.

    Its family's video processor is configured beside, for the stock processors insist on it.
    """
    folder = Path(folder)
    processor.save_pretrained(folder)
    parts = parts_of(processor)
    if parts is None:
        return
    for name in ("processor_config.json", "tokenizer_config.json"):
        _rewrite(folder / name, {"processor_class": parts.stock})
    pictures = {**processor.image_processor.to_dict(), "image_processor_type": parts.pictures}
    pictures["processor_class"] = parts.stock
    # Also in the file of its own that readers older than version 5 look for.
    _write(folder / "preprocessor_config.json", pictures)
    if parts.video is not None:
        known = getattr(processor, "specs_lab_video", None)
        video = known or {name: pictures[name] for name in _SHARED_WITH_VIDEO if pictures.get(name) is not None}
        of_class = {"video_processor_type": parts.video, "processor_class": parts.stock}
        _write(folder / _VIDEO_FILE, {**video, **of_class})


def _rewrite(path: Path, changes: dict[str, Any]) -> None:
    _write(path, {**json.loads(path.read_text(encoding="utf-8")), **changes})


def _write(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")


# -- the fast path -----------------------------------------------------------------------------------------------------


def patchify(images: np.ndarray, processor: Qwen2VLImageProcessorPil) -> tuple[np.ndarray, np.ndarray]:
    """Turns equal-sized pictures that need no resizing into patches; a vectorised twin of the image processor.

    The general processor takes about 1.5 ms a picture, most of it Python; this takes microseconds.

    Args:
        images: (N, H, W, 3) uint8; H and W are multiples of ``patch_size * merge_size`` and within the pixel budget.
        processor: Supplies patch sizes, means and standard deviations.

    Returns:
        ``pixel_values`` (N, H/patch * W/patch, 3 * temporal * patch * patch) float32 and ``grid_thw`` (N, 3) int64.
    """
    patch, merge, temporal = processor.patch_size, processor.merge_size, processor.temporal_patch_size
    mean = np.asarray(processor.image_mean, np.float32)
    std = np.asarray(processor.image_std, np.float32)
    x = (images.astype(np.float32) * np.float32(1 / 255) - mean) / std
    n, height, width, channels = x.shape
    rows, columns = height // patch, width // patch
    x = x.reshape(n, rows // merge, merge, patch, columns // merge, merge, patch, channels)
    x = x.transpose(0, 1, 4, 2, 5, 7, 3, 6)  # n, row block, column block, row, column, channel, y, x
    x = np.broadcast_to(x[:, :, :, :, :, :, None], (*x.shape[:6], temporal, *x.shape[6:]))
    values = np.ascontiguousarray(x).reshape(n, rows * columns, channels * temporal * patch * patch)
    return values, np.tile(np.array([1, rows, columns], dtype=np.int64), (n, 1))


def needs_no_resizing(size: tuple[int, int], processor: Any) -> bool:
    """Whether :func:`patchify` applies to a picture of this (width, height)."""
    if not isinstance(processor, Qwen2VLImageProcessorPil):
        return False
    factor = processor.patch_size * processor.merge_size
    low, high = processor.size["shortest_edge"], processor.size["longest_edge"]
    return all(side % factor == 0 for side in size) and low <= size[0] * size[1] <= high
