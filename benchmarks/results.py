"""Arithmetic of results: medians, spreads, ratios."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks.duel import Outcome, Step

_PACKAGES = ("torch", "transformers", "trl", "accelerate", "lightning", "numpy")


def spread(values: Sequence[float]) -> dict[str, Any]:
    """Median, quartiles and extremes of repeats, and the repeats themselves."""
    first, third = np.quantile(values, (0.25, 0.75)).tolist()
    return {
        "median": median(values),
        "q1": first,
        "q3": third,
        "min": min(values),
        "max": max(values),
        "all": list(values),
    }


def summary(outcome: Outcome) -> dict[str, Any]:
    """One side of a case."""
    parts = [{**step.parts, **_training(step)} for step in outcome.steps]
    names = sorted({name for step in parts for name in step})
    return {
        "seconds": spread([step.seconds for step in outcome.steps]),
        "parts": {name: median(step.get(name, 0.0) for step in parts) for name in names},
        "tokens": round(median(step.tokens for step in outcome.steps)),
        **outcome.memory,
        "facts": outcome.facts,
    }


def _training(step: Step) -> dict[str, float]:
    """What is left of TRL's step once it has its samples and their scores; specs_lab's side times it itself."""
    before = step.parts.get("rollout and scores")
    return {} if before is None else {"training": step.seconds - before}


def ratios(ours: Sequence[Step], theirs: Sequence[Step]) -> dict[str, Any]:
    """How many times as long they take: the ratio of medians, and the spread of the ratios of steps taken in turn."""
    each = [their.seconds / our.seconds for our, their in zip(ours, theirs, strict=True)]
    of_medians = median(step.seconds for step in theirs) / median(step.seconds for step in ours)
    return {"ratio": of_medians, "ratio_of_steps": spread(each)}


def part_ratios(ours: dict[str, Any], theirs: dict[str, Any]) -> dict[str, float]:
    """Ratios of the parts that both sides name."""
    return {name: theirs[name] / ours[name] for name in sorted(ours.keys() & theirs.keys()) if ours[name] > 0}


def machine(device: str = "cpu") -> dict[str, Any]:
    """Facts about hardware and software that figures depend on; nothing that identifies the machine."""
    versions: dict[str, str | None] = {}
    for name in _PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = None
    facts: dict[str, Any] = {
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "system": platform.system(),
        "python": platform.python_version(),
        "versions": versions,
    }
    if device == "cuda":
        import torch

        facts["gpu"] = torch.cuda.get_device_name()
    return facts


def _cpu() -> str:
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    pairs = (line.partition(":") for line in lines[:30])
    fields = {name.strip(): value.strip() for name, _, value in pairs}
    name = fields.get("model name") or platform.processor() or platform.machine()
    wide = [flag for flag in ("avx2", "avx512f", "amx_tile") if flag in fields.get("flags", "").split()]
    return f"{name} ({', '.join(wide)})" if wide else name


def write(results: dict[str, Any], path: Path) -> None:
    """Writes JSON with six significant digits; a file that is there is replaced at once."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".tmp")
    unfinished.write_text(json.dumps(_rounded(results), indent=1) + "\n", encoding="utf-8")
    unfinished.replace(path)


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    return [_rounded(item) for item in value] if isinstance(value, (list, tuple)) else value
