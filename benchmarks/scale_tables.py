"""The cost model's results as Markdown: how far it is off, and what it predicts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Json = dict[str, Any]
SCENARIOS = ("central", "fast", "slow")
_GIGA = 1e9


def _lines(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    rule = ["---", *["---:"] * (len(header) - 1)]
    return "\n".join("| " + " | ".join(row) + " |" for row in (header, rule, *rows))


def scale_model_table(results: Json) -> str:
    """How measured seconds compare with predicted ones, by where points come from and by method."""
    header = ["points", "number", "median of measured / predicted", "median error", "worst error", "worst point"]
    header += ["within a factor of 2"]
    rows = [_summary_row(name, one) for name, one in results["summaries"].items()]
    fitted = ", ".join(f"{name} {value:.3g}" for name, value in results["fitted"].items())
    peaks = results["peaks"]
    facts = results["machine"]
    head = (
        f"Peaks measured beside the points: {peaks['flops'] / _GIGA:.0f} GFLOP/s, {peaks['bandwidth'] / _GIGA:.1f} "
        f"GB/s (one thread, float32). Fitted on the calibration points alone: {fitted}. The error of a ratio r is "
        f"max(r, 1/r) - 1. {facts['cpu']}; Python {facts['python']}, torch {facts['versions']['torch']}."
    )
    memory = results["memory"]
    of_memory = (
        f"Memory (`memory.json`): {memory['held']} of {memory['points']} peaks within {memory['within']:.0%} of the "
        f"estimate that is used here, the worst off by {memory['worst_error']:.0%}."
    )
    return "\n\n".join([head, _lines(header, rows), of_memory])


def _summary_row(name: str, one: Json) -> list[str]:
    return [
        name,
        str(one["points"]),
        f"{one['median_ratio']:.2f}",
        f"**{one['median_error']:.0%}**",
        f"{one['worst_error']:.0%}",
        one["worst"],
        f"{one['within_2']} of {one['points']}",
    ]


def scale_predictions_table(results: Json) -> str:
    """What the study would cost, for each size and number of devices."""
    study = _lines(
        [
            "model",
            "learns",
            "GPUs",
            "sampling",
            "strategy",
            "GB a GPU",
            "hours",
            "GPU-hours",
            "GPUs with work",
            "most of the time",
        ],
        [_plan_row(plan) for plan in results["plans"]],
    )
    far = _lines(
        [
            "model",
            "fewest GPUs",
            "idle beyond (prompts in a step)",
            "worth it up to",
            "exchange longer than computing at",
        ],
        [_reach_row(one) for one in results["reach"]],
    )
    shown = results["detail"]
    detail = _lines(
        ["stage", "FLOPs", "GB a GPU", "sent in an update, GB", "tokens sampled", "hours", "most of it"],
        [_stage_row(stage) for stage in shown["stages"]],
    )
    lead = (
        f"`specs-lab scale {results['overrides']}`, {results['hardware']}; sampling by an engine is on the "
        "same GPUs. Times are central (fast to slow)."
    )
    of_detail = f"The stages of {shown['model']} on {shown['gpus']} GPUs ({shown['strategy']}):"
    of_far = "How far its last RL scales (FSDP2, central, powers of two up to 4096; 0: at none of them):"
    return "\n\n".join([lead, study, of_detail, detail, of_far, far])


def _plan_row(plan: Json) -> list[str]:
    lead = [plan["model"], plan["adapter"], str(plan["gpus"]), plan["engine"], plan["strategy"]]
    most = max(stage["memory_bytes"] for stage in plan["stages"]) / _GIGA
    if not plan["fits"]:
        large = [stage["stage"] for stage in plan["stages"] if not stage["fits"]]
        return [*lead, f"{most:.0f}", f"does not fit ({', '.join(large)})", "", "", ""]
    longest = max(plan["stages"], key=lambda stage: stage["seconds"]["central"])
    return [
        *lead,
        f"{most:.0f}",
        span(plan["hours"]),
        span(plan["gpu_hours"]),
        f"{plan['busy']:.0%}",
        f"{longest['stage']}, {longest['limit']}",
    ]


def _stage_row(stage: Json) -> list[str]:
    sent = sum(stage["sent_bytes"].values()) / _GIGA
    hours = {name: seconds / 3600 for name, seconds in stage["seconds"].items()}
    return [
        stage["stage"],
        f"{stage['flops']:.1e}",
        f"{stage['memory_bytes'] / _GIGA:.0f}",
        f"{sent:.0f}" if sent else "",
        f"{stage['sampled_tokens']:.1e}",
        span(hours),
        stage["limit"],
    ]


def _reach_row(one: Json) -> list[str]:
    return [one["model"], *(str(one[name]) for name in ("fewest", "batch", "worth", "communication"))]


def span(values: Mapping[str, float]) -> str:
    """A central value and its range."""
    central, fast, slow = (number(values[name]) for name in SCENARIOS)
    return f"{central} ({fast} to {slow})"


def number(value: float) -> str:
    """Two significant digits, no exponent."""
    if value >= 100:
        return f"{float(f'{value:.2g}'):,.0f}"
    return f"{value:.0f}" if value >= 10 else f"{value:.2g}"
