"""How far the cost model is off, and what it predicts: ``python -m benchmarks.scale_model [--predict]``.

Without a flag: measures this CPU's peaks and a set of points, fits the model's efficiencies on those that are declared
as calibration, predicts the others and those of earlier results; writes JSON and a figure. ``--predict``: what the
SPECS study at full size would cost for each size of Qwen2.5-VL on 1 to 512 GPUs. Both put tables into
``docs/scaling.md``.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from benchmarks.duel import ROOT
from benchmarks.results import machine, write
from benchmarks.scale_points import RESULTS, Point, fresh_points, measure, stored_points
from benchmarks.scale_studies import studies
from benchmarks.tables import insert, table
from specs_lab.preflight.memory import DIRECT_LOGITS
from specs_lab.scaling.calibration import FITTED, Measured, fit, summary
from specs_lab.scaling.efficiency import ASSUMED, Efficiency
from specs_lab.scaling.hardware import Hardware, hardware
from specs_lab.scaling.loads import loads_of
from specs_lab.scaling.planning import as_data, plan_on, reach
from specs_lab.scaling.steps import Step
from specs_lab.scaling.work import Work

DOC = ROOT / "docs" / "scaling.md"
OVERRIDES = ("experiment=full/specs", "trainer.gradient_checkpointing=true")
MODELS = ("3b", "7b", "32b", "72b")
GPUS = (1, 8, 64, 512)
ENGINE = "vllm"
_MATRIX, _COPIED = 1024, 1 << 26


# --- peaks ---


def _fastest(work: Callable[[], object], repeats: int = 12) -> float:
    taken = []
    for _ in range(repeats):
        start = time.process_time()
        work()
        taken.append(time.process_time() - start)
    return min(taken[2:])


def peaks() -> dict[str, float]:
    """This CPU's operations a second in a large product, and bytes a second of a copy, both ways counted."""
    left, right = torch.randn(_MATRIX, _MATRIX), torch.randn(_MATRIX, _MATRIX)
    product = torch.empty_like(left)
    source = torch.randn(_COPIED)
    target = torch.empty_like(source)
    return {
        "flops": 2 * _MATRIX**3 / _fastest(lambda: torch.mm(left, right, out=product)),
        "bandwidth": 2 * source.nbytes / _fastest(lambda: target.copy_(source), 6),
    }


def this_cpu(measured: dict[str, float]) -> Hardware:
    """This CPU as the model knows hardware."""
    return Hardware(
        name="cpu", memory=1e15, link=1e9, network=1e9, per_node=1, kind="cpu", source="measured", **measured
    )


# --- validation ---


def logprob_points(path: Path) -> list[tuple[str, Measured]]:
    """The output layer by itself: a forward and a backward pass over positions."""
    results = json.loads(path.read_text(encoding="utf-8"))
    settings = results["settings"]
    weights = settings["vocab"] * settings["hidden"]
    logits = settings["positions"] * settings["vocab"]
    found = []
    for way, again in (("all logits", 0), ("specs_lab", int(logits > DIRECT_LOGITS) * 2)):
        work = Work(
            flops=(6 + again) * weights * settings["positions"],
            width=settings["hidden"],
            weights=4 * (3 + again / 2) * weights,
            moved=16 * logits,
        )
        found.append(
            (f"log-probabilities, {way}", Measured([(1, work)], Step(), results["ways"][way]["seconds"]["median"]))
        )
    return found


def compare(points: Sequence[Point], device: Hardware, efficiency: Efficiency) -> list[dict[str, Any]]:
    """Measured and predicted seconds of points."""
    return [
        _compared(
            point.name,
            point.group,
            point.method,
            Measured.of(point.shape, point.setup, point.step, point.seconds),
            device,
            efficiency,
            point.wall,
        )
        for point in points
    ]


def _compared(
    name: str,
    group: str,
    method: str,
    known: Measured,
    device: Hardware,
    efficiency: Efficiency,
    wall: float | None = None,
) -> dict[str, Any]:
    predicted = known.predicted(device, efficiency)
    return {
        "name": name,
        "group": group,
        "method": method,
        "measured": known.seconds,
        **({} if wall is None else {"wall": wall}),
        "predicted": predicted.total,
        "ratio": known.seconds / predicted.total,
        "limit": predicted.limit,
    }


def summaries(compared: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Of each group of points, and of the held-out ones by method."""
    groups = list(dict.fromkeys(one["group"] for one in compared))
    found: dict[str, Any] = {}
    for group in groups:
        own = [one for one in compared if one["group"] == group]
        found[group] = summary({one["name"]: one["ratio"] for one in own})
        if group == "held out":
            for method in dict.fromkeys(one["method"] for one in own):
                of_method = {one["name"]: one["ratio"] for one in own if one["method"] == method}
                found[f"held out: {method}"] = summary(of_method)
    return found


def memory_summary(path: Path) -> dict[str, Any]:
    """The estimate of memory that predictions use, against what was measured."""
    results = json.loads(path.read_text(encoding="utf-8"))
    errors = [abs(row["ratio"] - 1) for row in results["rows"]]
    return {
        "points": len(errors),
        "within": results["within"],
        "held": sum(error <= results["within"] for error in errors),
        "worst_error": max(errors),
    }


def validate(options: argparse.Namespace) -> dict[str, Any]:
    """Measures, fits, compares."""
    torch.set_num_threads(options.threads)
    before, points = peaks(), []
    for one in fresh_points():
        points.append(measure(one, options.repeats, options.threads))
        print(f"{points[-1].name}: {points[-1].seconds * 1e3:.1f} ms", file=sys.stderr, flush=True)
    after = peaks()
    highest = {name: max(value, after[name]) for name, value in before.items()}
    return results_of(points, highest, {"threads": options.threads, "repeats": options.repeats})


def results_of(points: Sequence[Point], measured_peaks: dict[str, float], settings: dict[str, Any]) -> dict[str, Any]:
    """What was measured here, and everything known from earlier, against what the fitted model says."""
    device = this_cpu(measured_peaks)
    of_calibration = [p for p in points if p.group == "calibration"]
    efficiency = fit([Measured.of(p.shape, p.setup, p.step, p.seconds) for p in of_calibration], device)
    compared = compare([*points, *stored_points()], device, efficiency)
    for name, known in logprob_points(RESULTS / "logprobs.json"):
        compared.append(_compared(name, "logprobs", "logprobs", known, device, efficiency))
    compared += studies(device, efficiency)
    return {
        "kind": "scale_model",
        "machine": machine(),
        "settings": settings,
        "peaks": measured_peaks,
        "fitted": {name: getattr(efficiency, name) for name in FITTED},
        "summaries": summaries(compared),
        "memory": memory_summary(RESULTS / "memory.json"),
        "points": compared,
    }


def draw(results: dict[str, Any], path: Path) -> None:
    """Predicted against measured, both logarithmic, with a band of a factor of two."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axis = plt.subplots(figsize=(6.5, 6))
    for group in dict.fromkeys(point["group"] for point in results["points"]):
        own = [point for point in results["points"] if point["group"] == group]
        axis.scatter([p["measured"] for p in own], [p["predicted"] for p in own], s=18, alpha=0.7, label=group)
    seconds = [point[name] for point in results["points"] for name in ("measured", "predicted")]
    ends = [min(seconds) / 1.5, max(seconds) * 1.5]
    axis.plot(ends, ends, color="black", linewidth=0.8)
    axis.fill_between(ends, [end / 2 for end in ends], [end * 2 for end in ends], color="grey", alpha=0.15, label="2 x")
    axis.set(xscale="log", yscale="log", xlim=ends, ylim=ends, xlabel="measured (s)", ylabel="predicted (s)")
    axis.legend(frameon=False)
    axis.grid(alpha=0.3)
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)
    plt.close(figure)


# --- predictions ---


def _rows(model: str, adapter: str) -> list[tuple[int, str]]:
    """Numbers of GPUs, and what samples on them."""
    if adapter != "full":
        return [(gpus, ENGINE) for gpus in GPUS[:2]]
    rows = [(gpus, ENGINE) for gpus in GPUS]
    return [*rows, (8, "inprocess")] if model == "7b" else rows


def predictions(name: str = "h100") -> dict[str, Any]:
    """The study at full size, for each model and number of devices."""
    from specs_lab.scale import compose_study

    device = hardware(name)
    plans, far, detail = [], [], {}
    for model in MODELS:
        chosen = [*OVERRIDES, f"model=qwen2_5_vl_{model}"]
        for adapter in ("full", "qlora"):
            loads = loads_of(compose_study([*chosen, f"adapter={adapter}"]))
            for gpus, engine in _rows(model, adapter):
                plan = as_data(plan_on(loads, device, gpus, engine=engine))
                plans.append({"model": model.upper(), "adapter": "all" if adapter == "full" else adapter, **plan})
                if (model, adapter, gpus, engine) == ("7b", "full", 8, ENGINE):
                    detail = {"model": model.upper(), **plan}
            if adapter == "full":
                last = [load for load in loads if load.method == "grpo"][-1]
                found = reach(last, device, engine=ENGINE, efficiency=ASSUMED["central"])
                far.append({"model": model.upper(), **asdict(found)})
    return {
        "kind": "scale_predictions",
        "hardware": name,
        "source": device.source,
        "engine": ENGINE,
        "overrides": " ".join(OVERRIDES),
        "assumed": {scenario: asdict(one) for scenario, one in ASSUMED.items()},
        "plans": plans,
        "detail": detail,
        "reach": far,
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures or predicts, writes, draws, renders."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale_model", description=__doc__)
    parser.add_argument("--predict", action="store_true", help="predict instead of measuring; takes seconds")
    parser.add_argument("--hardware", default="h100", help="with --predict")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument(
        "--out", type=Path, help="default: benchmarks/results/scale_model.json or scale_predictions.json"
    )
    parser.add_argument("--doc", type=Path, default=DOC)
    options = parser.parse_args(arguments)
    results = predictions(options.hardware) if options.predict else validate(options)
    publish(results, options.out or RESULTS / f"{results['kind']}.json", options.doc)
    return 0


def publish(results: dict[str, Any], out: Path, doc: Path) -> None:
    """Writes results, draws the figure, puts the table into a page and prints it."""
    write(results, out)
    if results["kind"] == "scale_model":
        draw(results, out.with_suffix(".png"))
    read = json.loads(out.read_text(encoding="utf-8"))  # as rounded: the page is rendered from the file
    text = doc.read_text(encoding="utf-8")
    doc.write_text(insert(text, results["kind"], table(read)), encoding="utf-8")
    print(table(read))


if __name__ == "__main__":
    sys.exit(main())
