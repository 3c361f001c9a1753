"""Points that the cost model is held against: measured here, and those of earlier results."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import lightning
import torch

from benchmarks.cases import Case
from benchmarks.memory_cases import MemoryCase, _prepared, _turn
from benchmarks.models import PATCH, SHAPES, Shape
from benchmarks.our_side import sample
from specs_lab.models.setup import ModelSetup
from specs_lab.models.sources.embedded import CHECKPOINTS
from specs_lab.models.vlm import VLM
from specs_lab.preflight.loads import Adapter, Pass, Setup
from specs_lab.preflight.shapes import ModelShape, shape_of, shape_of_folder
from specs_lab.scaling.rollouts import Rollout
from specs_lab.scaling.steps import Step
from specs_lab.training.fit import ConsecutiveBatches, fit
from specs_lab.training.options.trainer import TrainerOptions

RESULTS = Path(__file__).with_name("results")
LORA_RANK = 8
EMBEDDED = {"tiny": "tiny-0", "small": "small-0"}


@dataclass(frozen=True, kw_only=True)
class Point:
    """Something whose seconds are known and can be predicted.

    Attributes:
        name: Says what it is.
        group: Where it comes from; of the fresh ones ``calibration`` or ``held out``.
        method: What is done.
        shape: The model.
        setup: How it is held.
        step: What is done, in the model's terms.
        seconds: Measured; of the fresh ones the median of processor time, which other processes disturb least.
        wall: The fastest by the clock, of the fresh ones.
    """

    name: str
    group: str
    method: str
    shape: ModelShape
    setup: Setup
    step: Step
    seconds: float
    wall: float | None = None


# --- measured here ---


@dataclass(frozen=True, kw_only=True)
class Fresh:
    """A point to be measured.

    Attributes:
        model: ``tiny`` or ``small``.
        case: What is done; ``rollout`` as its method samples only.
        calibrates: Whether the model's parameters are fitted on it.
    """

    model: str
    case: MemoryCase
    calibrates: bool

    @property
    def name(self) -> str:
        """Says what it is."""
        case = self.case
        name = f"{self.model} {case.method} {case.prompts} x {case.image} px, text {case.text}, L{case.completion}"
        name += f", G{case.group}" if case.method in ("grpo", "rollout") else ""
        name += f", KL {case.kl_weight:g}" if case.kl_weight else ""
        name += f", {case.adapter}" if case.adapter != "full" else ""
        name += ", checkpointing" if case.checkpointing else ""
        name += ", vision learns" if case.train_vision else ""
        return name


def _case(method: str, prompts: int, image: int, completion: int, **more: Any) -> MemoryCase:
    return MemoryCase(method=method, prompts=prompts, image=image, completion=completion, **{"text": 8, **more})


def fresh_points() -> list[Fresh]:
    """What is measured; declared here, before any of it is known, is what parameters are fitted on."""
    calibration = [
        _case("sft", 4, 32, 16),
        _case("sft", 32, 64, 64),
        _case("dpo", 8, 64, 32),
        _case("grpo", 2, 128, 32, group=8),
        _case("grpo", 8, 64, 48, group=4),
        _case("rollout", 2, 64, 32, group=4),
        _case("rollout", 16, 64, 64, group=8),
    ]
    held_out = [
        _case("sft", 8, 64, 32),
        _case("sft", 16, 128, 32),
        _case("sft", 8, 32, 128, text=60),
        _case("dpo", 4, 32, 16),
        _case("dpo", 16, 64, 64),
        _case("hybrid", 16, 64, 48),
        _case("grpo", 4, 64, 32, group=8),
        _case("grpo", 8, 64, 24, group=8),
        _case("grpo", 4, 64, 96, group=4),
        _case("grpo", 8, 64, 48, group=4, kl_weight=0.04),
        _case("rollout", 1, 64, 64, group=1),
        _case("rollout", 4, 128, 32, group=4),
        _case("rollout", 8, 64, 128, group=8),
        _case("rollout", 32, 64, 32, group=8),
        _case("sft", 16, 64, 64, adapter="lora"),
        _case("sft", 16, 64, 64, checkpointing=True),
        _case("dpo", 8, 64, 32, train_vision=True),
    ]
    made = [Fresh(model=m, case=c, calibrates=True) for m in EMBEDDED for c in calibration]
    return made + [Fresh(model=m, case=c, calibrates=False) for m in EMBEDDED for c in held_out]


def _now() -> tuple[float, float]:
    """Processor and wall seconds."""
    return time.process_time(), time.perf_counter()


class _Clock(lightning.Callback):
    """When steps end."""

    def __init__(self) -> None:
        self.ends: list[tuple[float, float]] = []

    def on_train_batch_end(self, *_: Any, **__: Any) -> None:
        """After each step."""
        self.ends.append(_now())


def measure(fresh: Fresh, repeats: int, threads: int) -> Point:
    """Measures a point: the median of its repeats, after two that do not count."""
    case = fresh.case
    setup = ModelSetup(freeze_vision=not case.train_vision, freeze_projector=not case.train_vision)
    vlm = VLM.load(CHECKPOINTS / EMBEDDED[fresh.model], setup=setup)
    shape = shape_of_folder(CHECKPOINTS / EMBEDDED[fresh.model])
    if case.adapter == "lora":
        from specs_lab.models.adapters.lora import LoraAdapter

        LoraAdapter(rank=LORA_RANK).attach(vlm, 0)
    if case.checkpointing:
        vlm.checkpoint_activations()
    vlm.never_sampled = [*vlm.never_sampled, vlm.end_id]
    prompts = vlm.encode_prompts(*_turn(case))
    if case.method == "rollout":
        some = prompts * case.prompts
        taken = [_timed(vlm, some, case) for _ in range(repeats + 2)][2:]
    else:
        clock = _Clock()
        timed = replace(case, steps=repeats + 3)
        module, data = _prepared(timed, vlm)
        options = TrainerOptions(threads=threads)
        fit(module, data, ConsecutiveBatches(case.prompts, timed.steps), trainer=options, callbacks=[clock])
        taken = [_between(*pair) for pair in pairwise(clock.ends)][2:]
    patches = int(sum(int(grid.prod()) for grid in prompts[0].vision["image_grid_thw"]))
    return Point(
        name=fresh.name,
        group="calibration" if fresh.calibrates else "held out",
        method=case.method,
        shape=shape,
        setup=_setup(case),
        step=_step(case, len(prompts[0].token_ids), patches),
        seconds=median(processor for processor, _ in taken),
        wall=min(wall for _, wall in taken),
    )


def _timed(vlm: VLM, prompts: Sequence[Any], case: MemoryCase) -> tuple[float, float]:
    start = _now()
    sample(vlm, prompts, case.group, case.completion)
    return _between(start, _now())


def _between(start: tuple[float, float], end: tuple[float, float]) -> tuple[float, float]:
    return end[0] - start[0], end[1] - start[1]


def _setup(case: MemoryCase) -> Setup:
    adapter = Adapter(rank=LORA_RANK) if case.adapter == "lora" else None
    return Setup(checkpointing=case.checkpointing, train_vision=case.train_vision, adapter=adapter)


def _step(case: MemoryCase, prompt_tokens: int, patches: int) -> Step:
    """Pairs are encoded before the first step; features of a frozen tower are kept from then on."""
    sampled = case.method in ("grpo", "rollout")
    branches = case.group if sampled else 1 if case.method == "sft" else 2
    load = Pass(prompts=case.prompts, prompt_tokens=prompt_tokens, branches=branches, completion_tokens=case.completion)
    rollout = None
    if sampled:
        rollout = Rollout(
            prompts=case.prompts,
            group=case.group,
            prompt_tokens=prompt_tokens,
            mean=case.completion,
            most=case.completion,
            batch=case.prompts * case.group,
        )
    return Step(
        load=None if case.method == "rollout" else load,
        references=1.0 if case.kl_weight else 0.0,
        rollout=rollout,
        patches=patches * case.prompts,
        pictures=case.prompts,
        encoded=case.method == "grpo",
    )


# --- of earlier results ---


def shape_of_benchmark(shape: Shape) -> ModelShape:
    """The shape of one of the benchmarks' own models, from the names of its weights."""
    from transformers import Qwen2_5_VLForConditionalGeneration

    from benchmarks import tokens
    from benchmarks.models import make_config

    config = make_config(shape, tokens.make_tokenizer(shape.vocab))
    with torch.device("meta"):
        model = Qwen2_5_VLForConditionalGeneration._from_config(config)
    return shape_of(config.to_dict(), {name: tuple(p.shape) for name, p in model.named_parameters()})


def stored_points() -> list[Point]:
    """Every earlier measurement of seconds whose load is known token by token."""
    return [*_vs_trl(RESULTS / "vs_trl.json"), *_scaling(RESULTS / "scaling.json")]


def _vs_trl(path: Path) -> Iterator[Point]:
    results = json.loads(path.read_text(encoding="utf-8"))
    shape = shape_of_benchmark(SHAPES[results["settings"]["shape"]])
    for entry in results["cases"]:
        known = {name: entry[name] for name in Case.__dataclass_fields__}
        case = Case(**known)
        sequences = case.prompts * (case.group if case.sampled else 2 if case.method == "dpo" else 1)
        length = round(entry["ours"]["tokens"] / sequences - entry["prompt_tokens"])
        step = _case_step(case, entry["prompt_tokens"], length)
        setup = Setup(train_vision=not case.freeze_vision)
        yield Point(
            name=case.name,
            group="vs_trl",
            method=case.method,
            shape=shape,
            setup=setup,
            step=step,
            seconds=entry["ours"]["seconds"]["median"],
        )


def _case_step(case: Case, prompt_tokens: int, length: int) -> Step:
    branches = case.group if case.sampled else 2 if case.method == "dpo" else 1
    load = Pass(prompts=case.prompts, prompt_tokens=prompt_tokens, branches=branches, completion_tokens=length)
    rollout = None
    if case.sampled:
        rows = case.prompts * case.group
        rollout = Rollout(
            prompts=case.prompts, group=case.group, prompt_tokens=prompt_tokens, mean=length, most=length, batch=rows
        )
    online = case.kl_weight > 0 or (case.method == "dpo" and case.reference == "online")
    looks = 0.0 if case.freeze_vision else float(case.sampled) + online
    return Step(
        load=None if case.method == "rollout" else load,
        references=float(online),
        rollout=rollout,
        towers=looks,
        patches=case.prompts * (case.image // PATCH) ** 2,
        pictures=case.prompts,
        encoded=True,
    )


def _scaling(path: Path) -> Iterator[Point]:
    """Forward and backward pass of a group, and its rollout; no optimizer, nothing is preprocessed."""
    results = json.loads(path.read_text(encoding="utf-8"))
    shapes: dict[int, ModelShape] = {}
    for entry in results["points"]:
        at = {**results["base"], entry["factor"]: entry["value"]}
        if at["vocab"] not in shapes:
            shapes[at["vocab"]] = shape_of_benchmark(replace(SHAPES["mini"], vocab=at["vocab"]))
        case = Case(method="grpo", prompts=1, image=at["image"], completion=at["completion"], group=at["group"])
        whole = _case_step(case, _prompt_tokens(case), at["completion"])
        for mode, seconds in entry["modes"].items():
            for name, step in _parts(whole, shared=mode == "shared").items():
                yield Point(
                    name=f"{entry['factor']} {entry['value']}, {mode}, {name}",
                    group="scaling",
                    method="train" if name == "train_s" else "rollout",
                    shape=shapes[at["vocab"]],
                    setup=Setup(train_vision=True),
                    step=step,
                    seconds=seconds[name],
                )


def _prompt_tokens(case: Case) -> int:
    from benchmarks.data import prompt_tokens

    return prompt_tokens(case)


def _parts(whole: Step, *, shared: bool) -> dict[str, Step]:
    load, rollout = whole.load, whole.rollout
    if load is None or rollout is None:
        raise ValueError("a group's step trains and samples")
    copies = 1 if shared else rollout.group
    bare = replace(whole, encoded=False, patches=whole.patches * copies, pictures=whole.pictures * copies)
    return {
        "train_s": replace(bare, load=replace(load, shared=shared), rollout=None, towers=0.0),
        "rollout_s": replace(bare, load=None, rollout=replace(rollout, shared=shared), towers=1.0),
    }
