"""Reference log-probabilities on disk, with what they were made from, and refused for anything else.

A reference never changes, so scoring a dataset under it once is enough for every method, seed and learning rate. A file
made from other weights, data, chat template or pixel budget would still have the right shape and silently train towards
a policy that nobody chose; so the file names all four, and reading compares them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from specs_lab.core.errors import Fault, UserError
from specs_lab.models.prompts import Row
from specs_lab.models.vlm import VLM

_FINGERPRINT = "fingerprint"


@dataclass(frozen=True)
class ReferenceFingerprint:
    """What reference log-probabilities depend on, each as a hash in hex.

    Attributes:
        model: Names, types and values of all parameters; of a model with an adapter, those below it.
        data: Tokens and pictures of all rows, in order.
        template: The chat template, which wraps the prompts.
        pixels: The image processor's settings: pixel budget, patch size, normalisation.
    """

    model: str
    data: str
    template: str
    pixels: str


def reference_fingerprint(vlm: VLM, rows: Sequence[Row]) -> ReferenceFingerprint:
    """The fingerprint of scoring ``rows`` under the model as it is now."""
    images = vlm.processor.image_processor.to_dict()
    return ReferenceFingerprint(
        model=_of_tensors(_reference_weights(vlm)),
        data=_of_rows(rows),
        template=_of_text(str(vlm.processor.chat_template)),
        pixels=_of_text(json.dumps(images, sort_keys=True, default=str)),
    )


def write_reference(path: Path, logps: Mapping[str, Tensor], fingerprint: ReferenceFingerprint) -> None:
    """Writes named (B,) log-probabilities as safetensors, the fingerprint beside them."""
    # In one entry: safetensors writes several in an order that differs from process to process.
    save_file(dict(logps), path, metadata={_FINGERPRINT: json.dumps(asdict(fingerprint), sort_keys=True)})


def read_reference(path: Path, fingerprint: ReferenceFingerprint) -> dict[str, Tensor]:
    """Reads what :func:`write_reference` wrote.

    Raises:
        UserError: If the file was made from something else; every difference is named.
    """
    with safe_open(path, framework="pt") as file:
        found = json.loads((file.metadata() or {}).get(_FINGERPRINT, "{}"))
        logps = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
    other = [name for name, value in asdict(fingerprint).items() if found.get(name) != value]
    if other:
        fix = "delete the file to have it made anew"
        raise UserError([Fault(str(path), f"these reference log-probabilities are of another {n}", fix) for n in other])
    return logps


def _reference_weights(vlm: VLM) -> dict[str, Tensor]:
    """The weights of the policy that training starts from, by the names they have without an adapter."""
    weights: dict[str, Tensor] = {}
    for name, parameter in vlm.core.named_parameters():
        if ".lora_" in name:
            continue
        weights[name.replace(".base_layer.", ".")] = parameter
        if (state := getattr(parameter, "quant_state", None)) is not None:  # four-bit weights mean nothing without it
            weights |= {f"{name}.{part}": value for part, value in state.as_dict(packed=True).items()}
    return weights


def _of_text(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _of_tensors(tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _of_rows(rows: Sequence[Row]) -> str:
    digest = hashlib.sha256()
    of_prompt: dict[int, str] = {}  # sides of a pair share their prompt
    for row in rows:
        prompt = row.prompt
        if id(prompt) not in of_prompt:
            of_prompt[id(prompt)] = _of_tensors({"token_ids": prompt.token_ids, **prompt.vision})
        digest.update(f"{of_prompt[id(prompt)]} {row.completion}\n".encode())
    return digest.hexdigest()
