"""Whole studies of earlier results against the cost model: every stage of a recipe, on one core."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from benchmarks.scale_points import RESULTS
from specs_lab.preflight.needs import Prompts
from specs_lab.scale import compose_study
from specs_lab.scaling.cluster import Cluster
from specs_lab.scaling.efficiency import Efficiency
from specs_lab.scaling.hardware import Hardware
from specs_lab.scaling.loads import StageLoad, loads_of
from specs_lab.scaling.prediction import predict

_PATCHES = 64
"""Of the pictures of the procedural problems (64 px), as the embedded models see them."""
_COLD_STARTS = ("sft", "dpo", "hybrid")
_OF_AN_ARM = ("cold", "final", "evaluate_final")
"""Stages that arms do not share."""


def studies(device: Hardware, efficiency: Efficiency) -> list[dict[str, Any]]:
    """Measured and predicted seconds of the recipes and of the study."""
    known = json.loads((RESULTS / "vllm.json").read_text(encoding="utf-8"))  # how long prompts and answers really are
    tokens = round(known["prompt_tokens"] / known["questions"])
    efficiency = replace(efficiency, response_tokens=known["generated_tokens"] / known["questions"], spread=0.5)
    prompts = Prompts(tokens=tokens, patches=_PATCHES, counted=True)
    found = []
    for line in json.loads((RESULTS / "recipes.json").read_text(encoding="utf-8"))["recipes"]:
        loads = _loads([f"recipe={line['recipe']}"], prompts)
        found.append(_row(f"recipe {line['recipe']}", "recipes", line["seconds"], _total(loads, device, efficiency)))
    study = json.loads((RESULTS / "study.json").read_text(encoding="utf-8"))
    seconds = 0.0
    for number, name in enumerate(_COLD_STARTS):
        own = [load for load in _loads([f"coldstart={name}"], prompts) if not number or load.name in _OF_AN_ARM]
        seconds += _total(own, device, efficiency)
    measured = study["sides"]["after"]["cpu_seconds"]["median"]
    found.append(_row("study of three arms, processor time", "study", measured, seconds))
    return found


def _loads(overrides: Sequence[str], prompts: Prompts) -> list[StageLoad]:
    loads = loads_of(compose_study(overrides))
    return [replace(load, prompts=prompts, setup=replace(load.setup, device="cpu")) for load in loads]


def _total(loads: Sequence[StageLoad], device: Hardware, efficiency: Efficiency) -> float:
    cluster = Cluster(hardware=device)
    return sum(predict(load, cluster, {"fitted": efficiency}).seconds("fitted") for load in loads)


def _row(name: str, group: str, measured: float, predicted: float) -> dict[str, Any]:
    ratio = measured / predicted
    return {
        "name": name,
        "group": group,
        "method": "study",
        "measured": measured,
        "predicted": predicted,
        "ratio": ratio,
        "limit": "",
    }
