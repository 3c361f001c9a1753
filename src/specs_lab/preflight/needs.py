"""What each stage of a study needs: memory while it runs, disk for what it leaves behind."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from specs_lab.core.errors import UserError
from specs_lab.models.adapters.lora import LoraAdapter
from specs_lab.models.adapters.qlora import QLoraAdapter
from specs_lab.preflight.device import Memory
from specs_lab.preflight.loads import FLOAT, Adapter, Decoding, Estimate, Pass, Setup
from specs_lab.preflight.memory import estimate, trainable_parameters
from specs_lab.preflight.shapes import ModelShape, UnknownShape, shape_of_folder
from specs_lab.stages.context import Study
from specs_lab.stages.graph import PlannedStage, plan
from specs_lab.stages.store import Store

_SMALL_FILES = ("*.json", "*.jinja", "*.txt", "*.model")
"""Of a model's repository: all but its weights."""
_TYPICAL_PIXELS = 1 << 20
"""Of a picture, where neither the model's options nor its checkpoint set a lower bound."""
_TYPICAL_TEXT = 128
"""Tokens of a prompt beside its picture, where nobody has counted."""
_BYTES_A_TOKEN = 8
_BYTES_A_PAIR = 200_000
"""Of a pair with its picture, as a PNG; a picture of a megapixel takes some times as much, a drawn one far less."""


@dataclass(frozen=True, kw_only=True)
class Prompts:
    """How long prompts are.

    Attributes:
        tokens: Of a long one, those of pictures included.
        patches: Of its pictures.
        counted: Whether that was counted, not guessed from the pixel budget.
    """

    tokens: int
    patches: int
    counted: bool = False


@dataclass(frozen=True, kw_only=True)
class Need:
    """What a stage needs.

    Attributes:
        stage: Its name.
        kind: Its kind.
        disk: Bytes that it writes, about.
        weights_on_disk: Bytes of weights among them, which are certain.
        memory: What it takes while it runs; None if nobody can tell.
        adapter: Whether it trains an adapter.
    """

    stage: str
    kind: str
    disk: int
    weights_on_disk: int
    memory: Estimate | None = None
    adapter: bool = False


def missing_stages(study: Study) -> list[PlannedStage]:
    """The stages that are not in the store yet, in the order in which they are run."""
    store = Store(Path(study.paths.cache))
    return [stage for stage in plan(study) if store.get(stage.kind, stage.key) is None]


class Shapes:
    """The shapes of models, each looked up once; ``unknown`` says which could not be told, and why."""

    def __init__(self) -> None:
        self._known: dict[int, ModelShape | None] = {}
        self.unknown: list[str] = []

    def of(self, model: Any) -> ModelShape | None:
        """The shape of the model that an option chooses; None if it cannot be told."""
        if id(model) not in self._known:
            self._known[id(model)] = self._read(model)
        return self._known[id(model)]

    def _read(self, model: Any) -> ModelShape | None:
        try:
            return shape_of_folder(config_folder(model))
        except UnknownShape as error:
            self.unknown.append(f"the shape of the model cannot be told: {error}")
        except UserError as error:
            self.unknown += [
                f"the model's configuration cannot be had: {fault.where}: {fault.what}" for fault in error.faults
            ]
        return None


def config_folder(model: Any) -> Path:
    """Where a model's configuration lies, and its weights if they are on this machine; weights are not downloaded.

    Raises:
        UserError: If it is of the hub, and neither the hub nor the local cache has it.
    """
    if getattr(model, "path", ""):
        return Path(model.path)
    if getattr(model, "repo", ""):
        from specs_lab.core.hub import commit_of, snapshot

        commit = commit_of(model.repo, getattr(model, "revision", "main"), "model")
        return snapshot(model.repo, commit, "model", _SMALL_FILES)
    return Path(model.folder)


def typical_prompts(model: Any, shape: ModelShape) -> Prompts:
    """What prompts of one picture take if it fills the pixel budget."""
    pixels = min(_TYPICAL_PIXELS, getattr(model, "max_pixels", None) or _TYPICAL_PIXELS, _most_pixels(model))
    patches = pixels // max(1, shape.patch or 14) ** 2
    tokens = patches // max(1, shape.merge) ** 2 + _TYPICAL_TEXT
    return Prompts(tokens=min(tokens, shape.positions or tokens), patches=patches)


def _most_pixels(model: Any) -> int:
    """The bound that the checkpoint's own processor sets."""
    folder = config_folder(model)
    for name in ("processor_config.json", "preprocessor_config.json"):
        if (folder / name).is_file():
            config = json.loads((folder / name).read_text(encoding="utf-8"))
            images = config.get("image_processor", config)
            most = images.get("max_pixels") or (images.get("size") or {}).get("longest_edge") or 0
            if most > 2048:  # Idefics' longest edge is a side, not an area
                return int(most)
    return _TYPICAL_PIXELS


def needs(
    study: Study, stages: list[PlannedStage], memory: Memory | None, shapes: Shapes, prompts: Prompts | None = None
) -> Iterator[Need]:
    """What stages need.

    Args:
        study: The study.
        stages: Those that are to be run.
        memory: Of the device.
        shapes: Shapes of models.
        prompts: How long prompts are, if that has been counted.
    """
    models = models_of(plan(study))
    for stage in stages:
        model = models.get(stage.name)
        shape = None if model is None else shapes.of(model)
        if shape is None:
            yield Need(stage=stage.name, kind=stage.kind, disk=_rows_on_disk(stage), weights_on_disk=0)
            continue
        long = prompts or typical_prompts(model, shape)
        setup = setup_of(study, stage, model, memory)
        weights = _weights_on_disk(stage, model, shape, setup)
        yield Need(
            stage=stage.name,
            kind=stage.kind,
            disk=weights + _rows_on_disk(stage),
            weights_on_disk=weights,
            memory=_memory(study, stage, shape, setup, long),
            adapter=setup.adapter is not None,
        )


def models_of(planned: list[PlannedStage]) -> dict[str, Any]:
    """The base model's options behind each stage that works with one."""
    found: dict[str, Any] = {}
    for stage in planned:
        sources = [found[name] for name in stage.inputs.values() if name in found]
        if "model" in stage.options:
            found[stage.name] = stage.options["model"]
        elif sources:
            found[stage.name] = sources[0]
    return found


def setup_of(study: Study, stage: PlannedStage, model: Any, memory: Memory | None) -> Setup:
    """How a stage holds its model."""
    trainer, trains = study.trainer, stage.kind in ("rl", "coldstart")
    chosen = stage.options.get("adapter") if trains else None
    adapter = None
    if isinstance(chosen, LoraAdapter):
        adapter = Adapter(rank=chosen.rank, dora=chosen.decomposes, four_bit=isinstance(chosen, QLoraAdapter))
    reward, rl = stage.options.get("reward"), stage.options.get("rl")
    return Setup(
        device="cpu" if memory is None else memory.kind,
        half=getattr(model, "dtype", "float32") == "bfloat16",
        train_vision=not getattr(model, "freeze_vision", True),
        adapter=adapter,
        optimiser=optimiser_of(rl if rl is not None else stage.options.get("coldstart")),
        checkpointing=trainer.gradient_checkpointing,
        copied_reference=rl is not None and bool(rl.kl_weight or getattr(reward, "asks_model", False)),
        feature_cache=trainer.feature_cache_mb << 20,
    )


def optimiser_of(options: Any) -> str:
    """A key of :data:`specs_lab.preflight.memory.ADAM_BYTES`."""
    said = str(getattr(options, "optimizer", getattr(options, "optimiser", "adamw")))
    return "adamw_8bit" if "8" in said or getattr(options, "eight_bit", False) else "adamw"


def _memory(study: Study, stage: PlannedStage, shape: ModelShape, setup: Setup, long: Prompts) -> Estimate | None:
    trainer = study.trainer
    options: Mapping[str, Any] = stage.options

    def decoding(rows: int, prompts: int, new_tokens: int) -> Decoding:
        side_by_side = min(rows, trainer.sample_batch_size)
        behind = min(prompts, side_by_side)
        return Decoding(
            rows=side_by_side, prompts=behind, prompt_tokens=long.tokens, new_tokens=new_tokens, patches=long.patches
        )

    def training(prompts: int, branches: int, completion: int, *, whole: bool) -> Pass:
        limit, shared = trainer.micro_batch_tokens, trainer.share_prompts
        return Pass.within(limit, prompts, long.tokens, branches, completion, long.patches, whole=whole, shared=shared)

    if stage.kind == "rl":
        rl = options["rl"]
        rows = rl.prompts_per_step * rl.group_size
        load = training(rl.prompts_per_step, rl.group_size, rl.max_new_tokens, whole=False)
        return estimate(shape, setup, load, decoding(rows, rl.prompts_per_step, rl.max_new_tokens))
    if stage.kind == "coldstart":
        cold, suite = options["coldstart"], options["suite"]
        branches = 2 if getattr(cold, "needs_rejected", False) else 1
        load = training(cold.batch_size, branches, suite.max_new_tokens, whole=True)
        return estimate(shape, setup, load, decoding(_tasks_of(suite), _tasks_of(suite), suite.max_new_tokens))
    if stage.kind == "construct":
        models = max(1, len(stage.inputs))
        one = estimate(shape, setup, None, decoding(1 << 20, 1 << 20, getattr(options["data"], "max_new_tokens", 0)))
        return (
            Estimate({name: models * count for name, count in one.held.items()}, {}, one.sampling)
            if stage.inputs
            else None
        )
    if stage.kind in ("evaluate", "explore", "select"):
        asked = options.get("suite") or options.get("exploration") or options.get("select")
        rows = 1 << 20  # a whole batch
        return estimate(shape, setup, None, decoding(rows, rows, getattr(asked, "max_new_tokens", 0)))
    return None


def _tasks_of(suite: Any) -> int:
    return max(1, len(suite.cells)) * suite.n


# --- disk ---


def _weights_on_disk(stage: PlannedStage, model: Any, shape: ModelShape, setup: Setup) -> int:
    if stage.kind == "base":
        if stage.options["model"].identity() is not None:
            return 0  # linked to the hub's own cache; only where that cannot be, copied
        files = [path for path in config_folder(model).glob("*.safetensors") if path.is_file()]
        return sum(path.stat().st_size for path in files) or 2 * shape.parameters
    if stage.kind not in ("rl", "coldstart"):
        return 0
    if setup.adapter is not None:
        return FLOAT * setup.adapter.parameters(shape.text)
    learning = trainable_parameters(shape, setup)
    return FLOAT * learning + setup.element * (shape.parameters - learning)


def _rows_on_disk(stage: PlannedStage) -> int:
    """Of responses and pairs, roughly."""
    options = stage.options
    suite = options.get("suite") or options.get("exploration")
    if stage.kind == "construct":
        made = min(options["data"].pairs, 100_000)  # of a file it is only the most
        return made * _BYTES_A_PAIR
    if suite is None:
        return 1 << 20
    times = 1
    if "coldstart" in options:
        times = 2 + getattr(options["coldstart"], "steps", 0) // getattr(options["coldstart"], "eval_every", 1)
    cells, n = getattr(suite, "cells", ()), getattr(suite, "n", 1)
    asked = max(1, len(cells)) * n * getattr(suite, "samples", 1)
    return (1 << 20) + times * asked * getattr(suite, "max_new_tokens", 256) * _BYTES_A_TOKEN
