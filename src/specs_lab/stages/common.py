"""What stage runners share: loading and saving the model, loggers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from specs_lab.core.errors import Fault, UserError
from specs_lab.core.journal import Journal
from specs_lab.core.seeding import derive_seed
from specs_lab.models.adapters.base import Adapter
from specs_lab.models.memory import NoRoom, attempt
from specs_lab.models.vlm import VLM
from specs_lab.stages.chain import ADAPTER, MODEL, merged_vlm, write_link
from specs_lab.stages.context import StageContext
from specs_lab.tracking.loggers import finish_loggers
from specs_lab.training.distributed import rank, world_size
from specs_lab.training.options.trainer import TrainerOptions
from specs_lab.training.sharding import whole_state


def load_model(context: StageContext, name: str, *, adapter: Adapter | None = None) -> VLM:
    """The model of an input, its adapters merged, set up as its base says and for the trainer.

    Args:
        context: The stage's.
        name: The input's.
        adapter: What of the model is to learn, if it is to be trained.

    Raises:
        UserError: If it does not fit into memory.
    """
    vlm = attempt(lambda: _load_model(context, name, adapter))
    if isinstance(vlm, NoRoom):
        fix = "choose a smaller model, adapter=qlora, or trainer=fsdp2, or run fewer jobs at a time"
        raise UserError([Fault(f"stage {context.name}", f"memory ran out while the model was loaded: {vlm.why}", fix)])
    return vlm


def _load_model(context: StageContext, name: str, adapter: Adapter | None) -> VLM:
    trainer: TrainerOptions = context.options["trainer"]
    torch.set_num_threads(trainer.threads)
    vlm = merged_vlm(
        context.inputs[name],
        context.store.cache,
        adapter=adapter,
        share_prompts=trainer.share_prompts,
        feature_cache_bytes=trainer.feature_cache_mb << 20,
    )
    if adapter is not None:
        adapter.attach(vlm, derive_seed("adapter", context.seed))
    if vlm.has_adapter:
        torch.manual_seed(derive_seed("dropout", context.seed))  # of the adapter, in training passes
        for part in _idle_parts(vlm):
            what = f"the {part} is not frozen by the model's options, but no adapter is on it: it does not learn"
            context.progress.message(f"{context.name}: {what}")
    if vlm.why_plain and trainer.share_prompts:
        context.progress.message(f"{context.name}: prompts are not shared, training is slower: {vlm.why_plain}")
    if trainer.gradient_checkpointing:
        vlm.checkpoint_activations()
    shared_out = adapter is not None and trainer.strategy == "fsdp2" and world_size() > 1
    return vlm if shared_out else vlm.to(_device(trainer))  # else layer by layer, when it is shared out


def _device(trainer: TrainerOptions) -> torch.device:
    use_gpu = trainer.accelerator == "gpu" or (trainer.accelerator == "auto" and torch.cuda.is_available())
    return torch.device("cuda" if use_gpu else "cpu")


@contextmanager
def placed(vlm: VLM, trainer: TrainerOptions) -> Iterator[None]:
    """The model where the trainer's passes are made, if it is not there yet, for as long as the context lasts."""
    before = vlm.device
    vlm.to(_device(trainer))
    try:
        yield
    finally:
        vlm.to(before)


def _idle_parts(vlm: VLM) -> list[str]:
    """What of a model with an adapter does not learn although its options let it."""
    parts = {
        "vision tower": (vlm.setup.freeze_vision, vlm.family.tower_parameters()),
        "projector": (vlm.setup.freeze_projector, vlm.family.projector_parameters()),
    }
    return [
        name
        for name, (frozen, parameters) in parts.items()
        if not frozen and not any(parameter.requires_grad for parameter in parameters.values())
    ]


def save_model(vlm: VLM, context: StageContext) -> None:
    """Writes a stage's model, or its adapter and what that is on, and hands on how the model is set up.

    All ranks call it, and the first one writes.
    """
    state = None if vlm.has_adapter else whole_state(vlm.model)  # an adapter is whole on every rank
    if rank():
        return
    if vlm.has_adapter:
        from specs_lab.models.adapting import write_adapter  # imports PEFT

        write_adapter(vlm, context.folder / ADAPTER)
        write_link(context.folder, context.inputs["model"], context.options["adapter"].holding(vlm.setup))
    else:
        vlm.save(context.folder / MODEL, state)
    vlm.setup.write(context.folder)


def journal_of(context: StageContext, name: str) -> Journal:
    """The stage's journal of a name."""
    return Journal(context.work / name, lambda text: context.progress.message(f"{context.name}: {text}"))


@contextmanager
def open_loggers(context: StageContext) -> Iterator[list[Any]]:
    """The stage's Lightning loggers; closed afterwards, and marked as failed if the stage failed."""
    loggers = context.loggers()
    failed = True
    try:
        yield loggers
        failed = False
    finally:
        finish_loggers(loggers, failed)
