"""PEFT adapters on a :class:`VLM`: attached, written, read, merged. PEFT is slow to import; only who adapts imports it.

What is written is PEFT's own format, but by hand: PEFT's way of saving asks a hub about the base model, puts the path
of its folder into the configuration, and adds a README.
"""

from __future__ import annotations

import copy
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model, get_peft_model_state_dict
from safetensors.torch import load_file, save_file

from specs_lab.core.errors import Fault, UserError, raise_faults, suggest
from specs_lab.models.adapters.lora import LANGUAGE, LoraAdapter
from specs_lab.models.holding import Holding, set_types
from specs_lab.models.quantisation import quantise, round_trip
from specs_lab.models.vlm import VLM

_NAME = "default"
_WEIGHTS = "adapter_model.safetensors"


def attach_lora(vlm: VLM, options: LoraAdapter, seed: int) -> None:
    """See :meth:`specs_lab.models.adapters.base.Adapter.attach`."""
    pattern = target_pattern(vlm, options.targets, include_vision=options.include_vision)
    holding = options.holding(vlm.setup)
    vlm.core.requires_grad_(False)
    set_types(vlm.core, holding.torch_dtype)
    if holding.four_bit:
        quantise(vlm.family.text_model, holding)
        vlm.core.is_loaded_in_4bit = True  # by this PEFT knows that four-bit layers may be met
    config = LoraConfig(
        r=options.rank,
        lora_alpha=options.alpha,
        lora_dropout=options.dropout,
        target_modules=pattern,
        use_rslora=options.rslora,
        use_dora=options.decomposes,
        init_lora_weights="gaussian" if options.init == "gaussian" else True,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        vlm.model = _wrapped(vlm.core, config)
    set_types(vlm.model, holding.torch_dtype)
    vlm.vision_frozen = not options.include_vision
    vlm.features.clear()


def _wrapped(core: Any, config: LoraConfig) -> PeftModel:
    training = core.training
    with warnings.catch_warnings():
        # PEFT reads a name that transformers has deprecated.
        warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing.*", category=FutureWarning)
        model: Any = get_peft_model(core, config)
    config.base_model_name_or_path = None  # PEFT writes the checkpoint's place here, which is another one elsewhere
    return model.train(training)


# -- which layers ------------------------------------------------------------------------------------------------------


def target_pattern(vlm: VLM, targets: Sequence[str], *, include_vision: bool = False) -> str:
    """A regular expression for the full names, inside the Hugging Face model, of the layers that get an adapter.

    Raises:
        UserError: If a name is none of a linear layer there, or the vision tower is asked for and frozen.
    """
    faults = []
    if include_vision and vlm.setup.freeze_vision:
        what = "the vision tower is to have adapters, and the model's options freeze it"
        faults.append(Fault("adapter.include_vision", what, "set model.freeze_vision=false"))
    pattern = vlm.family.lora_targets(tower=include_vision)
    if list(targets) != [LANGUAGE]:
        known = {name.rpartition(".")[2] for name, _ in vlm.core.named_modules() if re.fullmatch(pattern, name)}
        faults += [
            Fault("adapter.targets", f"there is no linear layer '{name}' where adapters may be", suggest(name, known))
            for name in targets
            if name not in known
        ]
        pattern = rf"(?=(?:{pattern})$)(?:.*\.)?(?:{'|'.join(map(re.escape, sorted(targets)))})"
    raise_faults(faults)
    return pattern


# -- files -------------------------------------------------------------------------------------------------------------


def write_adapter(vlm: VLM, folder: Path) -> None:
    """Writes a model's adapter, and nothing else, in PEFT's format."""
    folder.mkdir(parents=True)
    state = get_peft_model_state_dict(vlm.model, save_embedding_layers=False)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
    save_file(tensors, folder / _WEIGHTS, metadata={"format": "pt"})
    config = copy.deepcopy(vlm.model.peft_config[_NAME])
    config.base_model_name_or_path = None
    config.inference_mode = True
    config.save_pretrained(str(folder))


def merge_adapter(vlm: VLM, folder: Path, holding: Holding) -> None:
    """Merges an adapter into a float32 model without one, in place.

    Args:
        vlm: The model that the adapter was trained on.
        folder: What :func:`write_adapter` wrote.
        holding: How the model's weights were held in training: the adapter is merged into their values in that form.

    Raises:
        UserError: If the adapter's weights do not belong to this model.
    """
    with _learning_kept(vlm.core):
        vlm.core.requires_grad_(False)
        if holding.dtype != "float32":
            set_types(vlm.core, holding.torch_dtype)
        if holding.four_bit:
            round_trip(vlm.family.text_model, holding)
        set_types(vlm.core, torch.float32)
        config: Any = LoraConfig.from_pretrained(str(folder))
        config.inference_mode = False
        model = _wrapped(vlm.core, config)
        _load(model, folder)
        model.merge_and_unload()
    vlm.features.clear()


def _load(model: PeftModel, folder: Path) -> None:
    """Gives an adapter the weights in a folder; every one, and no other."""
    from peft import set_peft_model_state_dict

    path = folder / _WEIGHTS
    stored = load_file(path)
    own = get_peft_model_state_dict(model, save_embedding_layers=False)
    shapes = ({name: tuple(tensor.shape) for name, tensor in state.items()} for state in (stored, own))
    if next(shapes) != next(shapes):
        what = f"its {len(stored)} weights are not the {len(own)} that its base model has a place for"
        raise UserError([Fault(str(path), what, "give the adapter the base model that it was trained on")])
    set_peft_model_state_dict(model, stored)


@contextmanager
def _learning_kept(core: Any) -> Iterator[None]:
    """Restores which parameters learn, by name."""
    learning = {name for name, parameter in core.named_parameters() if parameter.requires_grad}
    yield
    for name, parameter in core.named_parameters():
        parameter.requires_grad_(name in learning)
