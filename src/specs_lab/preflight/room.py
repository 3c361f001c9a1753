"""Whether there is room: on the disk for what will be written, in memory for what will be held."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from specs_lab.preflight.device import Memory
from specs_lab.preflight.findings import Finding, size
from specs_lab.preflight.needs import Need

_SPARE = 1.2
"""Room that estimates are given."""


def check_disk(cache: Path, needed: Sequence[Need]) -> Finding:
    """Free space where stages are kept, against what those that are missing will write."""
    place = cache.absolute()
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    weights, whole = sum(need.weights_on_disk for need in needed), sum(need.disk for need in needed)
    figures = {"free_bytes": free, "needed_bytes": whole, "weights_bytes": weights}
    what = f"{size(free)} are free at {cache}; {len(needed)} stages to be made will write about {size(whole)}"
    fix = "free some, or point paths.cache at a larger disk"
    if any(need.weights_on_disk and not need.adapter and need.kind != "base" for need in needed):
        fix += "; adapter=lora writes adapters instead of whole models"
    if free < weights:
        return Finding(
            check="disk", level="fault", what=f"{what}, {size(weights)} of them weights", fix=fix, figures=figures
        )
    if free < _SPARE * whole:
        return Finding(check="disk", level="warning", what=what, fix=fix, figures=figures)
    return Finding(check="disk", level="ok", what=what, figures=figures)


def check_memory(memory: Memory | None, needed: Sequence[Need], *, counted: bool = False) -> Finding:
    """The device's memory, against the stage that takes most of it.

    Args:
        memory: Of the device; None if nobody says how much there is.
        needed: What stages need.
        counted: Whether the prompts' lengths were counted rather than guessed.
    """
    known = [(need, need.memory) for need in needed if need.memory is not None]
    if not known:
        return Finding(check="memory", level="ok", what="no stage to be made holds a model whose shape is known")
    largest, most = max(known, key=lambda pair: pair[1].peak)
    base, held = max(known, key=lambda pair: pair[1].certain)
    figures = {
        "peak_bytes": most.peak,
        "stage": largest.stage,
        "parts_bytes": most.parts,
        "stages_bytes": {need.stage: found.peak for need, found in known},
    }
    parts = ", ".join(f"{name} {size(count)}" for name, count in _largest(most.parts))
    how = "" if counted else ", with prompts as long as a picture of the pixel budget makes them"
    what = f"stage {largest.stage} takes about {size(most.peak)}{how} ({parts})"
    if memory is None:
        return Finding(check="memory", level="note", what=f"{what}; how much there is, nobody says", figures=figures)
    figures |= {"device": memory.name, "total_bytes": memory.total, "free_bytes": memory.free}
    there = f"{memory.name} has {size(memory.total)}, {size(memory.free)} of it free"
    if held.certain > memory.total:
        parts = ", ".join(f"{name} {size(count)}" for name, count in _largest(held.held))
        what = f"stage {base.stage} holds {size(held.certain)} whatever its batches ({parts}); {there}"
        return Finding(check="memory", level="fault", what=what, fix=_fix(base, held.held), figures=figures)
    if most.peak > memory.free:
        return Finding(
            check="memory", level="warning", what=f"{what}; {there}", fix=_fix(largest, most.parts), figures=figures
        )
    return Finding(check="memory", level="ok", what=f"{what}; {there}", figures=figures)


def _largest(parts: dict[str, int] | object) -> list[tuple[str, int]]:
    items = sorted(dict(parts).items(), key=lambda item: -item[1])  # type: ignore[call-overload]
    return [item for item in items if item[1]][:3]


_REMEDIES = {
    "optimizer states": "adapter=lora",
    "gradients": "adapter=lora",
    "reference copy": "adapter=lora, or rl.kl_weight=0",
    "weights": "a smaller model, model.dtype=bfloat16, or adapter=qlora",
    "activations": "trainer.gradient_checkpointing=true, a smaller trainer.micro_batch_tokens or model.max_pixels",
    "logits and workspace": "a smaller trainer.micro_batch_tokens",
    "caches of keys and values": "a smaller trainer.sample_batch_size",
    "logits": "a smaller trainer.sample_batch_size",
    "picture features": "a smaller trainer.feature_cache_mb",
}


def _fix(need: Need, parts: object) -> str:
    """What would help most, after the largest parts."""
    named = [_REMEDIES[name] for name, _ in _largest(parts) if name in _REMEDIES]
    helpful = [remedy for remedy in dict.fromkeys(named) if not (need.adapter and remedy == "adapter=lora")]
    return "try " + "; ".join(helpful) if helpful else "choose a smaller model"
