"""A model as a plain Hugging Face folder: what transformers, vLLM and TRL load without this package."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from transformers import GenerationConfig

from specs_lab.core.errors import Fault, UserError
from specs_lab.interop.lineage import StageFacts
from specs_lab.models.adapters.full import FullAdapter
from specs_lab.models.processing import save_processor
from specs_lab.models.setup import DTYPES, FILE
from specs_lab.models.vlm import VLM
from specs_lab.stages.chain import MODEL, chain, merged_vlm


def load_merged(artifact: Path) -> tuple[VLM, str]:
    """The model of a stage, whole, in float32, and the type of numbers that it is best stored in.

    That is the type that it is stored in now; after an adapter was merged, the type that it was computed in.

    Args:
        artifact: The stage's folder, in its store.

    Raises:
        UserError: If an earlier version of this package made it, or a model that its adapters are on is gone.
    """
    if not (artifact / FILE).is_file():
        what = f"has no {FILE}: an earlier version of specs_lab made it"
        raise UserError([Fault(str(artifact), what, "run the study again")])
    store_root = artifact.resolve().parent.parent
    # As if all weights were to be trained: they are read as precisely as they are stored.
    vlm = merged_vlm(artifact, store_root, adapter=FullAdapter(), share_prompts=False)
    whole, adapters = chain(artifact, store_root)
    config = json.loads((whole / MODEL / "config.json").read_text(encoding="utf-8"))
    stored = vlm.setup.dtype if adapters else config.get("dtype")
    return vlm, stored if stored in DTYPES else "float32"


def write_folder(vlm: VLM, folder: Path, *, dtype: str, sampling: Mapping[str, Any]) -> None:
    """Writes weights, configuration, tokenizer, processor, chat template and generation settings.

    Args:
        vlm: The model, without an adapter: what there was is merged. Its weights are converted in place.
        folder: An empty folder.
        dtype: ``float32`` or ``bfloat16``.
        sampling: Settings of sampling that become the folder's defaults.

    Raises:
        ValueError: If the model still has an adapter.
    """
    if vlm.has_adapter:
        raise ValueError("the model has an adapter: merge it first")
    model = vlm.core.to(DTYPES[dtype])
    ends = vlm.end_ids if len(vlm.end_ids) > 1 else vlm.end_ids[0]
    model.generation_config = GenerationConfig(eos_token_id=ends, pad_token_id=vlm.pad_id, **sampling)
    model.save_pretrained(folder, safe_serialization=True)
    for weights in folder.glob("*.safetensors"):  # safetensors lets nobody else read them: others serve the folder
        shutil.copymode(folder / "config.json", weights)
    save_processor(vlm.processor, folder)


def sampling_of(stages: Sequence[StageFacts]) -> dict[str, Any]:
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
