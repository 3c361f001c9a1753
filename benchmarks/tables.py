"""Results as Markdown, and where they go in the README: ``python -m benchmarks.tables RESULTS.json ...``.

The table of ``results/NAME.json`` replaces what stands between ``<!-- NAME -->`` and ``<!-- /NAME -->``.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.scale_tables import scale_model_table, scale_predictions_table
from benchmarks.soak_tables import faults_table, soak_table

README = Path(__file__).with_name("README.md")
HEADER = ("case", "P", "bound", "TRL ms", "ours ms", "ratio", "range", "parts", "peak MiB", "since start MiB")
LARGE = ("tokens/s", "MFU")
Json = dict[str, Any]


def _lines(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    rule = ["---", *["---:"] * (len(header) - 1)]
    return "\n".join("| " + " | ".join(row) + " |" for row in (header, rule, *rows))


def _ms(seconds: float) -> str:
    return f"{seconds * 1e3:.0f}"


def _pair(theirs: float, ours: float) -> str:
    return f"{theirs:.0f} / {ours:.0f} ({ours / theirs:.2f})"


def _parts(case: Json) -> Json:
    """A case that only samples has no training worth a name."""
    parts = case["part_ratios"]
    return {"rollout": parts["rollout"]} if case["method"] == "rollout" else parts


def _machine(results: Json) -> str:
    facts, chosen = results["machine"], results.get("settings", {})
    where = facts.get("gpu") or f"{facts['cpu']}, {chosen.get('threads', 1)} thread(s) a side"
    packages = ", ".join(f"{name} {version}" for name, version in facts["versions"].items() if version)
    return f"{where}; Python {facts['python']}, {packages}."


def _case_row(case: Json, large: bool) -> list[str]:
    lead = [case["name"]]
    if "error" in case:
        return [*lead, f"failed: {case['error']}", *[""] * (len(HEADER) - 2 + len(LARGE) * large)]
    ours, trl, spread = case["ours"], case["trl"], case["ratio_of_steps"]
    row = [
        *lead,
        str(case["prompt_tokens"]),
        f"{case['sharing_bound']:.2f}",
        _ms(trl["seconds"]["median"]),
        _ms(ours["seconds"]["median"]),
        f"**{case['ratio']:.2f}**",
        f"{spread['min']:.2f} to {spread['max']:.2f}",
        ", ".join(f"{name} {value:.2f}" for name, value in _parts(case).items()),
        _pair(trl["peak_mb"], ours["peak_mb"]),
        _pair(trl["peak_mb"] - trl["base_mb"], ours["peak_mb"] - ours["base_mb"]),
    ]
    if large:
        row += [
            f"{trl['tokens_per_second']:.0f} / {ours['tokens_per_second']:.0f}",
            f"{trl['mfu']:.1%} / {ours['mfu']:.1%}",
        ]
    return row


def vs_trl_table(results: Json) -> str:
    """Both sides' milliseconds a step, their ratio and its spread, the parts' ratios and peak memory."""
    large = results["settings"]["large"]
    header = [*HEADER, *LARGE] if large else HEADER
    rows = [_case_row(case, large) for case in results["cases"]]
    settings = results["settings"]
    head = f"Model `{settings['shape']}`, medians of {settings['steps']} steps. {_machine(results)}"
    notes = {case["trl"]["facts"].get("reference", "") for case in results["cases"] if "trl" in case}
    refused = [f"TRL's reference: {note.split('. ')[0]}." for note in sorted(notes) if "refused" in note]
    return "\n\n".join([head, _lines(header, rows), *refused])


def scaling_table(results: Json) -> str:
    """One row a point: training and rollout, with and without shared prompts."""
    header = ["factor", "value", "training ms", "rollout ms", "saved for backward MiB"]
    rows = []
    for point in results["points"]:
        modes = point["modes"]
        cells = [
            " → ".join(form(mode[name]) for mode in modes.values())
            for name, form in (("train_s", _ms), ("rollout_s", _ms), ("saved_mb", "{:.0f}".format))
        ]
        rows.append([point["factor"], str(point["value"]), *cells])
    base = ", ".join(f"{name} {value}" for name, value in results["base"].items())
    ways = " → ".join(results["points"][0]["modes"])
    return f"One factor at a time from {base}; {ways}. {_machine(results)}\n\n{_lines(header, rows)}"


def study_table(results: Json) -> str:
    """Wall time and memory of a study, before and after."""
    header = ["study", "seconds (median)", "range", "CPU seconds (median)", "peak MiB"]
    rows = [
        [
            name,
            f"{side['seconds']['median']:.1f}",
            f"{side['seconds']['min']:.1f} to {side['seconds']['max']:.1f}",
            f"{side['cpu_seconds']['median']:.1f}",
            f"{side['peak_mb']:.0f}",
        ]
        for name, side in results["sides"].items()
    ]
    ratio = f"Before / after: **{results['ratio']:.2f}** (CPU time {results['cpu_ratio']:.2f})."
    ratio += f" `{results['command']}`. {_machine(results)}"
    return f"{_lines(header, rows)}\n\n{ratio}"


def logprobs_table(results: Json) -> str:
    """Time, memory, and relative differences from the way that keeps all logits."""
    header = ["way", "ms", "range", "saved for backward MiB", "differs by"]
    rows = [
        [
            name,
            _ms(way["seconds"]["median"]),
            f"{_ms(way['seconds']['min'])} to {_ms(way['seconds']['max'])}",
            f"{way['saved_mb']:.0f}",
            ", ".join(f"{value:.0e}" for value in way["differences"]),
        ]
        for name, way in results["ways"].items()
    ]
    settings = results["settings"]
    head = (
        f"{settings['positions']} positions, hidden {settings['hidden']}, vocabulary {settings['vocab']}, medians of "
    )
    head += f"{settings['steps']}; relative differences of log-probabilities and both gradients. {_machine(results)}"
    return f"{head}\n\n{_lines(header, rows)}"


def grading_table(results: Json) -> str:
    """Mistakes by type, grades a second, towers of powers, and verdicts from several threads."""
    accuracy, rows = results["accuracy"], []
    graders = list(accuracy[0]["graders"])
    for line in accuracy:
        cells = [_mistakes(line["graders"][name]) for name in graders]
        counts = [str(line[name]) for name in ("n", "right", "wrong")]
        rows.append([line["type"], *counts, *cells, line["way"].replace("$", "\\$")])
    mistakes = _lines(["cases", "n", "right", "wrong", *graders, "math-verify's way"], rows)
    first = results["throughput"][0]["ways"]
    rates = _lines(
        ["answer", *(f"{name} /s" for name in first), "ratio"], [_rates(row) for row in results["throughput"]]
    )
    towers = [
        [f"`{row['tower']}`", f"{row['seconds']:.2f}", _said(not row["accepted"]), _said(row["next_is_right"])]
        for row in results["towers"]
    ]
    crowd = results["threads"]
    same = f"{crowd['grades']} grades from {crowd['threads']} threads: {crowd['differences']} differ from those of one."
    refused = _lines(["tower", "seconds", "refused", "next ones get their due"], towers)
    return "\n\n".join([_machine(results), mistakes, rates, refused, same])


def _mistakes(counts: Json) -> str:
    none = f" ({counts['none']} none)" if counts["none"] else ""
    return f"{counts['false_accepts']} / {counts['false_rejects']}{none}"


def _rates(row: Json) -> list[str]:
    """The last way is the one that others are compared with."""
    ways = list(row["ways"].values())
    medians = [way["per_second"]["median"] for way in ways]
    cells = [
        f"{way['per_second']['median']:.0f} ({way['per_second']['min']:.0f} to {way['per_second']['max']:.0f})"
        + (f", {way['agreed']:.0%} right" if way["agreed"] < 1 else "")
        for way in ways
    ]
    return [f"{row['kind']}, {row['form']}", *cells, f"**{max(medians[:-1]) / medians[-1]:.1f}**"]


def _said(yes: bool) -> str:
    return "yes" if yes else "**no**"


def constructions_table(results: Json) -> str:
    """How long pairs take, prompts together and one by one."""
    header = ["pairs", "seconds (median)", "range", "ms a pair", "one by one, ms a pair", "ratio", "range"]
    ways, settings, ratio = results["pair_seconds"], results["settings"], results["ratio"]
    row = [
        f"{settings['pairs']} of `{settings['data']}` on `{settings['model']}`",
        f"**{results['seconds']['median']:.1f}**",
        f"{results['seconds']['min']:.1f} to {results['seconds']['max']:.1f}",
        _ms(ways["together"]["median"]),
        _ms(ways["one by one"]["median"]),
        f"**{ratio['median']:.1f}**",
        f"{ratio['min']:.1f} to {ratio['max']:.1f}",
    ]
    return f"{_lines(header, [row])}\n\n{_machine(results)}"


def recipes_table(results: Json) -> str:
    """What each recipe costs and ends with."""
    header = ["recipe", "stages", "seconds", "ID joint", "OOD joint", "ID accuracy", "OOD accuracy"]
    rows = [
        [
            f"`{line['recipe']}`",
            str(line["stages"]),
            f"{line['seconds']:.0f}",
            *(_percent(line[f"{place} {metric}"]) for metric in ("joint", "accuracy") for place in ("id", "ood")),
        ]
        for line in results["recipes"]
    ]
    others = sorted({f"`{line['ood']}` for `{line['recipe']}`" for line in results["recipes"] if line["ood"] != "ood"})
    note = f"One seed; % with 95 % intervals over problems. OOD: the cell `ood`, {', '.join(others)}."
    note += f" `{results['command']}`. {_machine(results)}"
    return f"{_lines(header, rows)}\n\n{note}"


def _percent(interval: Sequence[float]) -> str:
    value, low, high = (100 * one for one in interval)
    return f"{value:.1f} ({low:.0f} to {high:.0f})"


def vllm_table(results: Json) -> str:
    """Whether vLLM says what we say, and where not."""
    header = ["model", "questions", "same prompt tokens", "same text", "same tokens", "ties", "different texts"]
    numbers = ("questions", "same_prompt_tokens", "same_text", "same_tokens", "ties", "distinct_texts")
    settings = results["settings"]
    row = [f"`{settings['model']}`, {settings['dtype']}", *(str(results[name]) for name in numbers)]
    row[3] = f"**{row[3]}**"
    versions = ", ".join(f"{name} {version}" for name, version in results["vllm_versions"].items())
    note = (
        f"Greedy, at most {settings['max_tokens']} tokens, {settings['at_once']} questions in flight; "
        f"{results['prompt_tokens']} prompt and {results['generated_tokens']} generated tokens in all. "
        f"*Different texts*: how many of the responses are not another's. {_stock(results['stock_processor'])} "
        f"vLLM's environment: {versions}. Ours: {_machine(results)}"
    )
    parted = [
        f"- `{line['question']}`: {line['ours']!r} and {line['vllm']!r}"
        + ("" if line["logit_gap"] is None else f", logits {line['logit_gap']:.1e} apart")
        for line in results["differing"]
    ]
    return "\n\n".join([_lines(header, [row]), note, *(["\n".join(parted)] if parted else [])])


def _stock(processor: Json) -> str:
    return (
        f"transformers' own `{processor['class']}` (with torchvision) makes the same tokens of "
        f"{processor['same_tokens']} of {processor['questions']} prompts, and pixels that differ by "
        f"{processor['pixels_differ_by']:.0e} at most."
    )


def families_table(results: Json) -> str:
    """The loss after one step of each family, adapter and method, and whether a checkpoint resumes."""
    lines: dict[tuple[str, str], Json] = {}
    for one in results["outcomes"]:
        lines.setdefault((one["family"], one["adapter"]), {})[one["method"]] = one
    methods = list(dict.fromkeys(one["method"] for one in results["outcomes"]))
    rows = [
        [
            f"{family}, {adapter}",
            f"{next(iter(of.values()))['learning']:,}",
            *(_outcome(of.get(name)) for name in methods),
        ]
        for (family, adapter), of in lines.items()
    ]
    held = sum(one["holds"] for one in results["outcomes"])
    head = f"Loss after one step, in {results['settings']['dtype']}, tiny random models. {held} of "
    head += (
        f"{len(results['outcomes'])} combinations hold: the loss is finite, weights move, and a run resumed from the "
    )
    head += f"checkpoint after its first step ends with the same weights, bit for bit. {_machine(results)}"
    return f"{head}\n\n{_lines(['model', 'weights that learn', *methods], rows)}"


def _outcome(one: Json | None) -> str:
    if one is None:
        return ""
    loss = f"{one['loss']:.3f}".replace("-0.000", "0.000")
    return loss if one["holds"] else f"**{loss}: does not hold**"


def memory_table(results: Json) -> str:
    """Estimated against measured peak memory of each case."""
    header = ["model", "method", "adapter", "else", "estimate MiB", "measured MiB", "ratio"]
    within, rows = results["within"], results["rows"]
    held = sum(abs(row["ratio"] - 1) <= within for row in rows)
    head = f"{held} of {len(rows)} estimates are within {within:.0%} of what was measured. {_machine(results)}"
    return f"{head}\n\n{_lines(header, [memory_row(row) for row in rows])}"


def memory_row(row: Json) -> list[str]:
    """The cells of a case."""
    case, said = row["case"], {"half": "bfloat16", "checkpointing": "checkpointing", "train_vision": "vision learns"}
    rest = [text for name, text in said.items() if case[name]]
    rest += [f"KL {case['kl_weight']:g}"] * (case["kl_weight"] > 0)
    rest += [f"{case['micro_batch_tokens']} tokens a micro-batch"] * (case["micro_batch_tokens"] < 1 << 20)
    sizes = [f"{row[name] / (1 << 20):.1f}" for name in ("estimate_bytes", "measured_bytes")]
    return [row["shape"], case["method"], case["adapter"], ", ".join(rest), *sizes, f"{row['ratio']:.3f}"]


def sweeps_table(results: Json) -> str:
    """How long the same jobs take, and how often their stages are made."""
    header = ["jobs", "seconds", "CPU seconds", "stages", "shared", "asked for", "made", "made more than once"]
    rows = [
        [
            name,
            f"{side['seconds']:.0f}",
            f"{side['cpu_seconds']:.0f}",
            *(str(side[what]) for what in ("stages", "shared", "used", "made")),
            f"**{len(side['made_more_than_once'])}**",
        ]
        for name, side in results["sides"].items()
    ]
    side = next(iter(results["sides"].values()))
    without = side["stage_seconds_unshared"] / side["stage_seconds"]
    equal = "the same" if results["same_summary"] else "**not the same**"
    note = f"{side['jobs']} jobs. One after the other / side by side: **{results['ratio']:.2f}** "
    note += f"(CPU time {results['cpu_ratio']:.2f}) on {results['machine']['cores']} cores; without sharing, "
    note += f"stages would take {without:.1f} times as long. Summaries are {equal}, to the last digit. "
    note += f"`{results['command']}`."
    return f"{_lines(header, rows)}\n\n{note} {_machine(results)}"


def ranks_table(results: Json) -> str:
    """How far trainings by several processes are from those by one, and how long their steps take."""
    header = ["method, items", "strategy", "weights: largest", "mean", "metrics", "s, one", "s, several", "ratio"]
    rows = [
        [
            f"{row['method']}, {row['items']}",
            row["strategy"],
            *(f"{row[name]:.1e}" for name in ("largest", "mean", "metrics")),
            *(f"{seconds:.2f}" for seconds in row["seconds"]),
            f"{row['ratio']:.2f}",
        ]
        for row in results["rows"]
    ]
    note = f"{results['ranks']} processes against one, two steps each, `tiny`, float32, gloo on "
    note += f"{results['machine']['cores']} cores: differences of weights, and of metrics relative to their size."
    return f"{_lines(header, rows)}\n\n{note} {_machine(results)}"


def rollouts_table(results: Json) -> str:
    """RL with rollouts of this process and of vLLM."""
    speed, final = results["tokens_per_second"], results["final_reward"]
    chosen = results["settings"]
    rows = [
        [name, ", ".join(f"{value:.3f}" for value in final[side]), f"{speed[side]:.0f}"]
        for side, name in (("inprocess", "in process"), ("vllm", "vLLM"))
    ]
    header = ("rollouts", f"mean reward of the last {chosen['last']} steps, by seed", "tokens generated/s of RL")
    below = (
        f"{chosen['steps']} steps. Mean distance of two curves of reward: {results['distance_of_seeds']:.3f} between "
        f"seeds in process, {results['distance_of_engines']:.3f} between engines at the same seed. {results['syncs']} "
        f"syncs, each checked: largest difference of a log-probability {results['largest_parity']:.1e} nats; largest "
        f"KL between engine and trainer {results['largest_mismatch_kl']:.1e} nats a token; a sync with its check takes "
        f"{results['sync_seconds']:.2f} s (median). {_machine(results)}"
    )
    return f"{_lines(header, rows)}\n\n{below}"


TABLES: dict[str, Callable[[Json], str]] = {
    "vs_trl": vs_trl_table,
    "scaling": scaling_table,
    "study": study_table,
    "logprobs": logprobs_table,
    "grading": grading_table,
    "constructions": constructions_table,
    "recipes": recipes_table,
    "families": families_table,
    "ranks": ranks_table,
    "memory": memory_table,
    "vllm": vllm_table,
    "rollouts": rollouts_table,
    "sweeps": sweeps_table,
    "soak": soak_table,
    "faults": faults_table,
    "scale_model": scale_model_table,
    "scale_predictions": scale_predictions_table,
}


def table(results: Json) -> str:
    """The table of results of any kind."""
    return TABLES[results["kind"]](results)


def insert(text: str, name: str, content: str) -> str:
    """Replaces what stands between a name's markers.

    Raises:
        ValueError: If the text has no such markers, or has them more than once.
    """
    pattern = re.compile(rf"(<!-- {re.escape(name)} -->).*?(<!-- /{re.escape(name)} -->)", re.DOTALL)
    replaced, count = pattern.subn(lambda found: f"{found[1]}\n{content}\n{found[2]}", text)
    if count != 1:
        raise ValueError(f"there are {count} places between <!-- {name} --> and <!-- /{name} -->, not one")
    return replaced


def main(arguments: Sequence[str] | None = None) -> int:
    """Renders result files into the README."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tables", description=__doc__)
    parser.add_argument("results", nargs="+", type=Path, help="JSON files")
    parser.add_argument("--readme", type=Path, default=README, help="default: benchmarks/README.md")
    parser.add_argument("--print", action="store_true", help="print the tables instead")
    options = parser.parse_args(arguments)
    text = "" if options.print else options.readme.read_text(encoding="utf-8")
    for path in options.results:
        content = table(json.loads(path.read_text(encoding="utf-8")))
        if options.print:
            print(content, end="\n\n")
        else:
            text = insert(text, path.stem, content)
    if not options.print:
        options.readme.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
