"""Training steps whose peak memory is measured and held against the preflight's estimate.

Allocations are counted, not pages: on CUDA by its allocator, on the CPU by the profiler's record of every allocation.
So the libraries' own memory, which no estimate is about, is left out.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch._C._profiler import RecordScope, _ExperimentalConfig
from torch.autograd import (
    ProfilerActivity,
    ProfilerConfig,
    ProfilerState,
    _disable_profiler,
    _enable_profiler,
    _prepare_profiler,
)

from benchmarks.cases import Case
from benchmarks.data import examples, reward
from benchmarks.our_side import OPTIMISER, as_task
from specs_lab.models.adapters.base import Adapter
from specs_lab.models.adapters.dora import DoraAdapter
from specs_lab.models.adapters.full import FullAdapter
from specs_lab.models.adapters.lora import LoraAdapter
from specs_lab.models.adapters.qlora import QLoraAdapter
from specs_lab.models.setup import ModelSetup
from specs_lab.models.vlm import VLM, Row
from specs_lab.objectives.dpo import DPOOptions
from specs_lab.objectives.grpo import GRPOOptions
from specs_lab.objectives.hybrid import HybridOptions
from specs_lab.objectives.sft import SFTOptions
from specs_lab.preflight.loads import Adapter as AdapterSize
from specs_lab.preflight.loads import Decoding, Estimate, Pass, Setup
from specs_lab.preflight.memory import estimate
from specs_lab.preflight.shapes import ModelShape, shape_of
from specs_lab.rewards.scoring import Score
from specs_lab.stages.coldstart import make_module
from specs_lab.training.base import TrainingModule
from specs_lab.training.cold_start import Pair
from specs_lab.training.fit import ConsecutiveBatches, Items, fit
from specs_lab.training.grpo import GRPOModule
from specs_lab.training.options.trainer import TrainerOptions

METHODS = ("sft", "dpo", "hybrid", "grpo")
ADAPTERS = ("full", "lora")
_ADAPTERS: dict[str, type[Adapter]] = {
    "full": FullAdapter,
    "lora": LoraAdapter,
    "dora": DoraAdapter,
    "qlora": QLoraAdapter,
}
_OPTIONS = {"sft": SFTOptions, "dpo": DPOOptions, "hybrid": HybridOptions}


@dataclass(frozen=True, kw_only=True)
class MemoryCase:
    """One training run.

    Attributes:
        method: One of :data:`METHODS`.
        adapter: A choice of the group ``adapter``.
        prompts: Prompts (or pairs) in a step.
        group: Responses to a prompt (GRPO).
        image: Side of the pictures in pixels.
        text: Words of a prompt.
        completion: Tokens of a completion; the longest, when sampled.
        micro_batch_tokens: Most tokens in one pass.
        kl_weight: GRPO's penalty; above 0 a reference is held.
        checkpointing: Whether activations are made again.
        train_vision: Whether the tower learns.
        half: Whether bfloat16 is computed in.
        steps: Optimizer steps.
    """

    method: str
    adapter: str = "full"
    prompts: int = 4
    group: int = 8
    image: int = 224
    text: int = 60
    completion: int = 64
    micro_batch_tokens: int = 1 << 20
    kl_weight: float = 0.0
    checkpointing: bool = False
    train_vision: bool = False
    half: bool = False
    steps: int = 2

    @property
    def data(self) -> Case:
        """What the examples are made by."""
        return Case(
            method="grpo" if self.method == "grpo" else "dpo",
            prompts=self.prompts,
            image=self.image,
            completion=self.completion,
            text=self.text,
            group=self.group,
        )


@dataclass
class Peak:
    """What was measured.

    Attributes:
        bytes: The most that was allocated at once.
    """

    bytes: int = 0


def held_bytes(model: torch.nn.Module) -> int:
    """Bytes of a model's parameters and buffers, shared ones counted once."""
    tensors = [*model.parameters(), *model.buffers()]
    storages = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in tensors}
    return sum(storages.values())


@contextmanager
def measured(model: torch.nn.Module, device: str) -> Iterator[Peak]:
    """Measures the most memory inside, the model's own included."""
    gc.collect()
    peak = Peak()
    if device == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        yield peak
        peak.bytes = torch.cuda.max_memory_allocated()
        return
    base = held_bytes(model)
    # Not by `torch.profiler`, which records every operation beside the allocations and takes ten times as long.
    config = ProfilerConfig(ProfilerState.KINETO, False, True, False, False, False, _ExperimentalConfig())
    _prepare_profiler(config, {ProfilerActivity.CPU})
    _enable_profiler(config, {ProfilerActivity.CPU}, {RecordScope.USER_SCOPE})
    try:
        yield peak
    finally:
        results: Any = _disable_profiler()
    events = [event for event in results.events() if event.name() == "[memory]"]
    now = most = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        now += event.nbytes()
        most = max(most, now)
    peak.bytes = base + most


def run(case: MemoryCase, folder: str | Path, device: str = "cpu", threads: int = 1) -> tuple[int, Estimate]:
    """Trains for some steps; returns the peak in bytes and the estimate.

    Args:
        case: What to run.
        folder: The checkpoint.
        device: ``cpu`` or ``cuda``.
        threads: CPU threads.
    """
    setup = ModelSetup(
        dtype="bfloat16" if case.half else "float32",
        freeze_vision=not case.train_vision,
        freeze_projector=not case.train_vision,
    )
    adapter = _ADAPTERS[case.adapter]()
    vlm = VLM.load(folder, setup=setup)
    shape = shape_of(vlm.core.config.to_dict(), {n: tuple(p.shape) for n, p in vlm.core.named_parameters()})
    adapter.attach(vlm, 0)
    if case.checkpointing:
        vlm.checkpoint_activations()
    vlm.never_sampled = [*vlm.never_sampled, vlm.end_id]
    vlm.to(device)
    with measured(vlm, device) as peak:
        module, data = _prepared(case, vlm)
        options = TrainerOptions(accelerator="gpu" if device == "cuda" else "cpu", threads=threads)
        fit(module, data, ConsecutiveBatches(case.prompts, case.steps), trainer=options)
    prompt = vlm.encode_prompts(*_turn(case))[0]
    patches = int(sum(int(grid.prod()) for grid in prompt.vision["image_grid_thw"]))
    told = estimated(case, shape, adapter, len(prompt.token_ids), patches, device)
    return peak.bytes, told


def _turn(case: MemoryCase) -> tuple[list[str], list[list[Any]], list[str]]:
    (one,) = examples(case.data, 1)
    return [one.prompt], [[one.image()]], ["x"]


def _prepared(case: MemoryCase, vlm: VLM) -> tuple[TrainingModule, Items[Any]]:
    some = examples(case.data, case.prompts)
    settings = {**OPTIMISER, "steps": case.steps}
    if case.method == "grpo":
        options = GRPOOptions(
            **settings,
            group_size=case.group,
            prompts_per_step=case.prompts,
            kl_weight=case.kl_weight,
            max_new_tokens=case.completion,
        )
        module = GRPOModule(
            vlm,
            options,
            lambda responses, *_: [Score(False, False, reward(one.text), None) for one in responses],
            micro_batch_tokens=case.micro_batch_tokens,
            sample_batch_size=case.prompts * case.group,
            stream="memory",
        )
        return module, Items(case.steps * case.prompts, lambda i: as_task(some[i % len(some)]))
    prompts = vlm.encode_prompts([e.prompt for e in some], [[e.image()] for e in some], [e.key for e in some])
    sides = [vlm.encode_completions([e.chosen, e.rejected]) for e in some]
    length = case.completion  # a word is more than one token where the tokenizer is not the benchmarks' own
    pairs = [Pair(Row(p, c[:length]), Row(p, r[:length]), -9.0, -9.0) for p, (c, r) in zip(prompts, sides, strict=True)]
    module = make_module(vlm, _OPTIONS[case.method](**settings), case.micro_batch_tokens)
    return module, Items(case.steps * case.prompts, lambda i: pairs[i % len(pairs)])


def estimated(
    case: MemoryCase, shape: ModelShape, adapter: Adapter, prompt_tokens: int, patches: int, device: str
) -> Estimate:
    """The preflight's estimate of a case."""
    lora = None
    if isinstance(adapter, LoraAdapter):
        lora = AdapterSize(rank=adapter.rank, dora=adapter.decomposes, four_bit=isinstance(adapter, QLoraAdapter))
    setup = Setup(
        device=device,
        half=case.half,
        train_vision=case.train_vision,
        adapter=lora,
        checkpointing=case.checkpointing,
        copied_reference=case.method == "grpo" and case.kl_weight > 0,
        feature_cache=1 << 30,
    )
    branches = {"sft": 1, "grpo": case.group}.get(case.method, 2)
    load = Pass.within(
        case.micro_batch_tokens,
        case.prompts,
        prompt_tokens,
        branches,
        case.completion,
        patches,
        whole=case.method != "grpo",
    )
    sampling = None
    if case.method == "grpo":
        rows = case.prompts * case.group
        sampling = Decoding(
            rows=rows, prompts=case.prompts, prompt_tokens=prompt_tokens, new_tokens=case.completion, patches=patches
        )
    return estimate(shape, setup, load, sampling)
