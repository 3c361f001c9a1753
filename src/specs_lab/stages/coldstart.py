"""Stage `coldstart`: SFT, DPO or hybrid from the input model, measured along the way."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer

from specs_lab.core.errors import Fault, UserError
from specs_lab.core.fingerprint import fingerprint as fingerprint_of_code
from specs_lab.core.journal import Journal
from specs_lab.core.seeding import derive_seed
from specs_lab.data.records import read_pairs
from specs_lab.models.prompts import Row, row_tokens
from specs_lab.models.reference import AdapterOff, Reference, sequence_logps
from specs_lab.models.reference_cache import read_reference, reference_fingerprint, write_reference
from specs_lab.models.vlm import VLM
from specs_lab.objectives.dpo import DPOOptions
from specs_lab.objectives.hybrid import HybridOptions
from specs_lab.objectives.optimisation import ColdStartOptions
from specs_lab.objectives.sft import SFTOptions
from specs_lab.stages.common import load_model, open_loggers, placed, save_model
from specs_lab.stages.context import StageContext
from specs_lab.stages.curve import CurveCallback, Measurements
from specs_lab.stages.describing import describe
from specs_lab.stages.evaluate import make_evaluator
from specs_lab.stages.guarding import guard_of
from specs_lab.stages.resuming import Resuming
from specs_lab.stages.steps import StepRows
from specs_lab.stages.store import WORK, read_manifest
from specs_lab.training.base import TrainingModule
from specs_lab.training.cold_start import DPOModule, HybridModule, Pair, SFTModule
from specs_lab.training.fit import Items, ShuffledBatches

_REFERENCE_CODE = (
    "specs_lab.models",
    "specs_lab.objectives.logprobs",
    "specs_lab.data.records",
    "specs_lab.stages.coldstart",
)
"""What cached reference log-probabilities depend on, beside the model and the data."""
_PAIRS_AT_ONCE = 256
"""Pairs whose reference log-probabilities are written down together, for a run that is interrupted."""


def run(context: StageContext) -> None:
    """Trains the input model on the pairs; writes the model, the curve and the samples behind it."""
    options, trainer, suite = (context.options[role] for role in ("coldstart", "trainer", "suite"))
    resuming = Resuming(context)
    vlm = load_model(context, "model", adapter=context.options["adapter"])
    chosen, rejected = encode_pairs(vlm, context.inputs["data"] / "pairs.parquet", options)
    module = make_module(vlm, options, trainer.micro_batch_tokens)
    module.guard = guard_of(context)
    batches = ShuffledBatches(len(chosen), options.batch_size, options.steps, context.seed)
    references: list[tuple[float, float]] = [(float("nan"), float("nan"))] * len(chosen)
    callbacks: list[Callback] = []
    if isinstance(options, DPOOptions) and not options.reference_free:
        references, seconds = reference_logps(context, vlm, chosen, rejected, trainer.micro_batch_tokens)
        tokens = [row_tokens(sides) for sides in zip(chosen, rejected, strict=True)]
        callbacks.append(ReferenceCharge(batches, tokens, seconds / len(chosen), resuming.step))
    pairs = [Pair(c, r, *reference) for c, r, reference in zip(chosen, rejected, references, strict=True)]
    with (
        Measurements(context.folder, suite, work=context.work, step=resuming.step) as measurements,
        open_loggers(context) as loggers,
    ):
        curve = CurveCallback(make_evaluator(context), measurements, options.eval_every, suite, context, resuming.step)
        resuming.fit(
            module,
            Items(len(pairs), pairs.__getitem__),
            batches,
            trainer=trainer,
            callbacks=[*callbacks, StepRows(measurements.rows), curve],
            loggers=loggers,
            progress=context.progress,
            name=f"{context.name}: {type(module).__name__.removesuffix('Module')}",
        )
    save_model(vlm, context)


class ReferenceCharge(Callback):
    """Charges the reference pass of a pair to the step that first sees it.

    The pass itself is made beforehand and shared by all arms. Charged all at once, it would put a method that needs a
    reference behind at every step before the last pair has been seen.

    Args:
        batches: Indices of each step's pairs.
        tokens: Tokens of both sides of each pair.
        seconds: Wall time of a pair's pass.
        done: Steps that were taken, and charged, before.
    """

    def __init__(self, batches: Iterable[list[int]], tokens: Sequence[int], seconds: float, done: int = 0) -> None:
        self._batches = list(batches)
        self._tokens, self._seconds = tokens, seconds
        self._seen = {index for batch in self._batches[:done] for index in batch}

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Lightning's hook: before a step."""
        if not isinstance(pl_module, TrainingModule):
            raise TypeError(f"{type(pl_module).__name__} is no TrainingModule")
        new = set(self._batches[batch_idx]) - self._seen
        pl_module.budget.forward(sum(self._tokens[i] for i in new))
        pl_module.budget.seconds += len(new) * self._seconds
        self._seen |= new


def make_module(vlm: VLM, options: ColdStartOptions, micro_batch_tokens: int) -> TrainingModule:
    """The Lightning module of a cold start's options."""
    if isinstance(options, HybridOptions):
        return HybridModule(vlm, options, micro_batch_tokens)
    if isinstance(options, DPOOptions):
        return DPOModule(vlm, options, micro_batch_tokens)
    if isinstance(options, SFTOptions):
        return SFTModule(vlm, options, micro_batch_tokens)
    raise TypeError(f"no module trains {type(options).__name__}")


def encode_pairs(vlm: VLM, path: Path, options: ColdStartOptions) -> tuple[list[Row], list[Row]]:
    """The pairs of a parquet file as rows: chosen sides, rejected sides. A missing rejected side is an empty one.

    Raises:
        UserError: If the loss compares two sides, and some pair has one only.
    """
    records = read_pairs(path)
    if options.needs_rejected and any(record.rejected is None for record in records):
        what = "the loss compares two sides, and some pairs have no rejected one"
        raise UserError([Fault("coldstart", what, "choose coldstart=sft, or data with a rejected side everywhere")])
    prompts = vlm.encode_prompts([r.prompt for r in records], [r.images for r in records], [r.id for r in records])

    def rows(texts: list[str]) -> list[Row]:
        return [Row(p, c) for p, c in zip(prompts, vlm.encode_completions(texts), strict=True)]

    return rows([record.chosen for record in records]), rows([record.rejected or "" for record in records])


def reference_logps(
    context: StageContext, vlm: VLM, chosen: list[Row], rejected: list[Row], micro_batch_tokens: int
) -> tuple[list[tuple[float, float]], float]:
    """Reference log-probabilities of both sides of each pair, (chosen, rejected), and the seconds that they took.

    The reference is the model that the stage starts from. They are computed once for a (model, data) and kept in the
    store beside the stages, where every arm finds them; the key names both inputs, and the file what it was made from.
    """
    count = len(chosen)
    rows = [*chosen, *rejected]
    fingerprint = reference_fingerprint(vlm, rows)

    def build(folder: Path) -> None:
        recall = Journal(folder / WORK / "log-probabilities", context.progress.message)
        with (
            placed(vlm, context.options["trainer"]),
            context.progress.task(f"{context.name}: reference log-probabilities", count) as advance,
        ):
            # Nothing has been trained yet: without an adapter the model itself is the reference, no copy is needed.
            start = AdapterOff(vlm) if vlm.has_adapter else vlm
            logps = []
            for first in range(0, count, _PAIRS_AT_ONCE):
                pairs = slice(first, first + _PAIRS_AT_ONCE)
                part = [*chosen[pairs], *rejected[pairs]]  # both sides of a pair share its prompt
                logps.append(recall(str(first), lambda part=part: _as_list(start, part, micro_batch_tokens)))
                advance(len(part) // 2)
        sides: dict[str, torch.Tensor] = dict(zip(("chosen", "rejected"), _joined(logps), strict=True))
        write_reference(folder / "reference.safetensors", sides, fingerprint)

    inputs = {name: path.name for name, path in context.inputs.items()}
    code = fingerprint_of_code(_REFERENCE_CODE)
    # The reference is the input model as it is held here, perhaps in four bits.
    held = describe(context.options["adapter"].holding(vlm.setup))
    key = f"{derive_seed('reference', code, *sorted(inputs.items()), *sorted(held.items())):020x}"
    folder, _ = context.store.make("reference", key, build, {"inputs": inputs}, check=True)
    sides = read_reference(folder / "reference.safetensors", fingerprint)
    both = torch.stack([sides["chosen"], sides["rejected"]], dim=1)
    return [(float(c), float(r)) for c, r in both], float(read_manifest(folder)["seconds"])


def _as_list(policy: VLM | Reference, rows: list[Row], micro_batch_tokens: int) -> list[float]:
    return sequence_logps(policy, rows, micro_batch_tokens).tolist()


def _joined(parts: list[list[float]]) -> list[torch.Tensor]:
    """Of parts that each have the chosen sides, then the rejected ones: all chosen, and all rejected, (B,) float32."""
    halves = [torch.tensor(part).chunk(2) for part in parts]
    return [torch.cat(side) for side in zip(*halves, strict=True)]
