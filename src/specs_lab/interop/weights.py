"""A model as a plain Hugging Face folder: what transformers, vLLM and TRL load without this package."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from transformers import GenerationConfig

from specs_lab.core.errors import Fault, UserError
from specs_lab.interop.lineage import StageFacts
from specs_lab.models.setup import DTYPES, ModelSetup
from specs_lab.models.vlm import VLM

MODEL = "model"
"""Name of the folder, inside an artifact, that holds a model."""

_VIDEO_PROCESSORS = {
    "qwen2_vl": "Qwen2VLVideoProcessor",
    "qwen2_5_vl": "Qwen2VLVideoProcessor",
    "qwen3_vl": "Qwen3VLVideoProcessor",
}
_OF_PICTURES_ONLY = ("image_processor_type", "processor_class")


def load_merged(artifact: Path) -> tuple[VLM, str]:
    """The model of a stage, whole, and how its weights are stored.

    Args:
        artifact: The stage's folder.

    Raises:
        UserError: If an earlier version of this package made it.
    """
    try:
        setup = ModelSetup.read(artifact)
    except FileNotFoundError as error:
        fix = "run the study again"
        raise UserError([Fault(str(artifact), "was made by an earlier version of specs_lab", fix)]) from error
    folder = artifact / MODEL
    stored = _read(folder / "config.json").get("dtype", "float32")
    stored = stored if stored in DTYPES else "float32"
    return VLM.load(folder, setup=replace(setup, dtype=stored), share_prompts=False), stored


def write_folder(vlm: VLM, folder: Path, *, dtype: str, sampling: dict[str, Any]) -> None:
    """Writes weights, configuration, tokenizer, processor, chat template and generation settings.

    Args:
        vlm: The model, without an adapter: what there was is merged.
        folder: An empty folder.
        dtype: ``float32`` or ``bfloat16``.
        sampling: Settings of sampling that become the folder's defaults.

    Raises:
        ValueError: If the model still has an adapter.
    """
    if vlm.has_adapter:
        raise ValueError("the model has an adapter: merge it first")
    model = vlm.core.to(DTYPES[dtype])
    model.config.dtype = DTYPES[dtype]
    model.generation_config = GenerationConfig(
        eos_token_id=vlm.end_ids if len(vlm.end_ids) > 1 else vlm.end_ids[0], pad_token_id=vlm.pad_id, **sampling
    )
    model.save_pretrained(folder, safe_serialization=True)
    write_processor(vlm.processor, model.config.model_type, folder)


def sampling_of(stages: list[StageFacts]) -> dict[str, Any]:
    """How responses were drawn where the model was measured, or else where it was trained, as generation settings.

    Whatever the base model came with (a repetition penalty, a temperature) is left out: nothing was measured under it.
    """
    found: dict[str, Any] = {}
    for role in ("rl", "suite"):  # the suite has the last word
        for stage in stages:
            found |= {key: value for key, value in stage.options.get(role, {}).items() if value is not None}
    temperature = float(found.get("temperature", 1.0))
    settings: dict[str, Any] = {"do_sample": temperature > 0}
    if temperature > 0:
        # transformers would draw from the 50 likeliest tokens if it were not told otherwise.
        settings |= {"temperature": temperature, "top_p": float(found.get("top_p", 1.0)), "top_k": 0}
    if "max_new_tokens" in found:
        settings["max_new_tokens"] = int(found["max_new_tokens"])
    return settings


def write_processor(processor: Any, model_type: str, folder: Path) -> None:
    """Saves a processor under the name of transformers' own class, with everything that its readers look for.

    transformers 5 writes one file; vLLM and earlier releases read the picture settings from a file of their own, and
    the stock classes of some families insist on settings for videos, although none are shown.
    """
    processor.save_pretrained(folder)
    own, stock = type(processor).__name__, _stock_name(processor)
    for name in ("processor_config.json", "tokenizer_config.json"):
        content = _read(folder / name)
        if content.get("processor_class") == own:
            _write(folder / name, {**content, "processor_class": stock})
    pictures = _read(folder / "processor_config.json").get("image_processor")
    if pictures is None:
        return
    _write(folder / "preprocessor_config.json", {**pictures, "processor_class": stock})
    if model_type in _VIDEO_PROCESSORS:
        shared = {name: value for name, value in pictures.items() if name not in _OF_PICTURES_ONLY}
        names = {"video_processor_type": _VIDEO_PROCESSORS[model_type], "processor_class": stock}
        _write(folder / "video_preprocessor_config.json", {**shared, **names})


def _stock_name(processor: Any) -> str:
    """The name of the class of transformers that a processor is, or is made from."""
    return next(one.__name__ for one in type(processor).__mro__ if one.__module__.startswith("transformers."))


def _read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))


def _write(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
