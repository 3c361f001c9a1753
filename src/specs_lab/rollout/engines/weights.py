"""A policy's weights as a server loads them: models and adapters, in folders that appear at once or not at all."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from specs_lab.models.processing import save_processor
from specs_lab.models.setup import DTYPES
from specs_lab.models.vlm import VLM

_REST_FILE, _OUTPUT_FILE = "rest.safetensors", "output_layer.safetensors"
_TIED = "tie_word_embeddings"


def published(folder: Path, write: Callable[[Path], None]) -> Path:
    """Has a folder written under a temporary name and renames it; what stood there before is gone.

    Args:
        folder: The folder.
        write: Fills the temporary one, which exists.
    """
    draft = folder.with_name(f".{folder.name}.draft")
    for old in (draft, folder):
        shutil.rmtree(old, ignore_errors=True)
    draft.mkdir(parents=True)
    write(draft)
    for file in draft.iterdir():
        file.chmod(0o644)  # safetensors lets nobody else read its files, and a server may be somebody else's
    return draft.rename(folder)


def write_model(vlm: VLM, folder: Path, dtype: str) -> None:
    """Writes a policy as a plain Hugging Face folder; of a model with an adapter, what lies below the adapter.

    An output layer that is tied to the embeddings is written as one of its own: vLLM 0.32, told to reload weights,
    gives new ones to the embeddings only (seen with its CPU build), and goes on sampling by the old output layer.

    Args:
        vlm: The policy; not changed.
        folder: An empty folder.
        dtype: Of floating-point weights.
    """
    core: Any = vlm.core
    state = {name: _cast(value, dtype) for name, value in _below_adapters(core.state_dict()).items()}
    core.save_pretrained(folder, state_dict=state, safe_serialization=True)
    save_processor(vlm.processor, folder)
    if getattr(core.config, _TIED, False):
        _untie(folder, core, dtype)


def _below_adapters(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.replace(".base_layer.", "."): value for name, value in state.items() if ".lora_" not in name}


def _cast(value: Tensor, dtype: str) -> Tensor:
    value = value.detach().cpu()
    return value.to(DTYPES[dtype]) if value.is_floating_point() else value


def _untie(folder: Path, core: Any, dtype: str) -> None:
    """Adds the output layer to a folder of a model in which it is the embeddings."""
    head = core.get_output_embeddings()
    name = next(name for name, module in core.named_modules() if module is head) + ".weight"
    save_file({name: _cast(head.weight, dtype).clone().contiguous()}, folder / _OUTPUT_FILE, metadata={"format": "pt"})
    index, single = folder / "model.safetensors.index.json", folder / "model.safetensors"
    if single.is_file():  # with another file beside it, readers want an index, and a name that hides it from none
        with safe_open(single.rename(folder / _REST_FILE), "pt") as rest:
            known = {"metadata": {}, "weight_map": dict.fromkeys(rest.keys(), _REST_FILE)}
    else:
        known = json.loads(index.read_text(encoding="utf-8"))
    known["weight_map"][name] = _OUTPUT_FILE
    index.write_text(json.dumps(known), encoding="utf-8")
    config = folder / "config.json"
    told = _told_apart(json.loads(config.read_text(encoding="utf-8"))) | {_TIED: False}
    config.write_text(json.dumps(told, indent=2), encoding="utf-8")


def _told_apart(config: Any) -> Any:
    """A configuration that ties nothing, in none of its parts."""
    if not isinstance(config, dict):
        return config
    return {name: False if name == _TIED else _told_apart(value) for name, value in config.items()}


def write_lora(vlm: VLM, folder: Path) -> None:
    """Writes a policy's adapter in PEFT's format into an empty folder."""
    from specs_lab.models.adapting import write_adapter  # imports PEFT

    folder.rmdir()
    write_adapter(vlm, folder)
