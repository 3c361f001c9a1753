"""A sweep's summary as tables for the terminal."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import pandas as pd
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from specs_lab.metrics.exploration import ENTROPY, JOINT_PASS, LENGTH, MAJ, PASS, RBF
from specs_lab.tracking.estimates import EQUAL_COMPUTE, EQUAL_STEPS, EVALUATION, TRAINING
from specs_lab.tracking.frames import select
from specs_lab.tracking.scores import ALL_ARMS, BASE_STAGE, FINAL_STAGE, ZERO_STAGE, Reading

if TYPE_CHECKING:
    from specs_lab.tracking.report import Summary

_NOTHING = "[dim]-[/]"
_MAX_COMPARED = 15  # of six arms
_INTERVAL = (
    "bootstrap over problems; with several seeds, half-width^2 = that of the bootstrap^2 + that of Student's t over "
    "seeds^2, clipped to possible values"
)


def print_summary(console: Console, summary: Summary) -> None:
    """Prints what a sweep found: results by arm, the Generalization Factor in full, differences, and what failed.

    Args:
        console: Where to.
        summary: The summary.
    """
    for table in all_tables(summary):
        console.print(table)
    for note in summary.notes:
        console.print(f"[yellow]note[/] {escape(note)}", highlight=False)
    if failed := summary.sweep.failed:
        console.print(f"[red]{len(failed)} of {len(summary.sweep.jobs)} jobs failed[/]", highlight=False)
    console.print(f"[dim]{escape(str(summary.folder))}[/]", highlight=False, soft_wrap=True)


def all_tables(summary: Summary) -> list[Table]:
    """The tables of a summary that have anything to show."""
    makers = (results_table, factor_table, difference_table, exploration_table)
    return [table for table in (make(summary) for make in makers) if table.row_count]


class _Look:
    """Finds estimates in a summary's table."""

    def __init__(self, table: pd.DataFrame) -> None:
        keys = ("versus", "arm", "stage", "at", "cell", "metric")
        rows = table.to_dict(orient="records")
        # Where arms are compared at several steps and none is named, the last counts.
        rows.sort(key=lambda row: -math.inf if math.isnan(row["step"]) else row["step"])
        self._found = {tuple(row[key] for key in keys): row for row in rows}
        for row in rows:
            if row["at"] == EQUAL_STEPS:
                place = {**row, "at": step_label(row["step"])}
                self._found[tuple(place[key] for key in keys)] = row
        self._seeds = {(row["arm"], row["stage"]): int(row["seeds"]) for row in rows if not row["versus"]}

    def seeds(self, arm: str, stage: str) -> int:
        """How many seeds the estimates of a stage are of; 0 if there are none."""
        return self._seeds.get((arm, stage), 0)

    def cell(self, arm: str, stage: str, at: str, cell: str, metric: str, versus: str = "") -> str:
        """An estimate in percent over its interval, as two lines of markup; differences are signed."""
        row = self._found.get((versus, arm, stage, at, cell, metric))
        if row is None:
            return _NOTHING
        form = "+.1f" if versus else ".1f"
        # Whole numbers keep the lines short; whether a difference's interval leaves out 0 needs the digit.
        low, high = (_percent(row[end], form if versus else ".0f") for end in ("low", "high"))
        return f"[bold]{_percent(row['value'], form)}[/]\n[dim]{low} to {high}[/]"

    def amount(self, arm: str, stage: str, cell: str, metric: str) -> str:
        """An estimate that is no share, as two lines of markup."""
        row = self._found.get(("", arm, stage, EVALUATION, cell, metric))
        if row is None or math.isnan(row["value"]):
            return _NOTHING
        value, low, high = (f"{row[end]:.{2 if row['value'] < 10 else 0}f}" for end in ("value", "low", "high"))
        return f"[bold]{value}[/]\n[dim]{low} to {high}[/]"


def step_label(step: float) -> str:
    """How tables name a step that arms are compared at."""
    return f"step {step:.0f}"


def _percent(share: float, form: str) -> str:
    return "undefined" if math.isnan(share) else f"{100 * share:{form}}"


def _table(title: str, caption: str, columns: Sequence[str]) -> Table:
    table = Table(title=title, caption=caption, box=box.SIMPLE_HEAD, title_justify="left", caption_justify="left")
    table.title_style, table.caption_style = "bold", "dim"
    table.add_column("arm", overflow="fold")
    for column in columns:
        table.add_column(column, justify="right", overflow="fold")
    return table


def _cold_stages(summary: Summary) -> dict[str, str]:
    return {scores.arm: scores.stage for scores in summary.curves.scores}


def _seeds(look: _Look, arm: str, cold: str) -> str:
    """How many seeds an arm's line is of; also how many after RL where the two differ."""
    before, after = look.seeds(arm, cold), look.seeds(arm, FINAL_STAGE)
    count = before or after
    label = f"{count} seed{'s' if count != 1 else ''}"
    return f"{label}\n(RL: {after})" if before and after and before != after else label


def _trained_on(mixtures: Mapping[str, tuple[str, ...]], readings: Mapping[str, Reading]) -> str:
    """What the final RL was trained on: there, its results are not out of distribution."""
    arms: dict[str, list[str]] = {}
    for arm, cells in mixtures.items():
        arms.setdefault(", ".join(cells), []).append(arm)
    if not arms:
        return ""
    cells = "; ".join(f"{cells} ({', '.join(names)})" if len(arms) > 1 else cells for cells, names in arms.items())
    seen = any(arm in readings and readings[arm].ood in trained for arm, trained in mixtures.items())
    untouched = ", so that OOD after RL is not untouched by training" if seen else ""
    return f"\nFinal RL was trained on cells {cells} (training problems){untouched}."


def _references(summary: Summary) -> str:
    """What the lines below the arms are, where there are any."""
    stages = set(summary.table["stage"])
    lines = []
    if BASE_STAGE in stages:
        lines.append("base: the model that all start from.")
    if ZERO_STAGE in stages:
        lines.append(
            "zero: a short RL run from it, of which the pairs are made; RL without a cold start, to compare the arms "
            "with, is the arm coldstart=none."
        )
    return "\n" + " ".join(lines) if lines else ""


def _where(summary: Summary) -> str:
    if not summary.curves.steps:
        return "no step (there is no cold start, or no such step that all arms evaluated)"
    return step_label(summary.curves.steps[-1])


def _steps(summary: Summary) -> list[str]:
    return [step_label(step) for step in summary.curves.steps]


def _cells(readings: Mapping[str, Reading]) -> str:
    used = {f"ID = {one.id}, OOD = {one.ood}, beta = {one.beta:g}" for one in readings.values()}
    return "; ".join(sorted(used))


def results_table(summary: Summary) -> Table:
    """Arms by what they were like after the cold start, and after RL; base and zero as reference lines."""
    trained_on = _trained_on(summary.mixtures, summary.readings)
    caption = (
        f"% with 95 % intervals: {_INTERVAL}. Cold starts at {_where(summary)}. GF: raw, of format and of "
        f"joint (format and answer right); {_cells(summary.readings)}.{_references(summary)}{trained_on}"
    )
    table = _table(
        "Cold start, then RL",
        caption,
        [
            "ID\nformat",
            "OOD\nformat",
            "GF raw\nformat",
            "GF raw\njoint",
            "other\nformat",
            "after RL\nID joint",
            "after RL\nOOD joint",
        ],
    )
    look, cold = _Look(summary.table), _cold_stages(summary)
    for arm, reading in summary.readings.items():
        before = _before_rl(look, arm, reading, cold[arm], EQUAL_STEPS) if arm in cold else [_NOTHING] * 5
        label = f"{escape(arm)}\n[dim]{_seeds(look, arm, cold.get(arm, ''))}[/]"
        table.add_row(label, *before, *_after_rl(look, arm, reading, FINAL_STAGE))
    table.add_section()
    for name, stage in (("zero", ZERO_STAGE), ("base", BASE_STAGE)):
        for arm in summary.table.loc[summary.table["stage"] == stage, "arm"].unique():
            reading = summary.readings.get(arm) or next(iter(summary.readings.values()))
            label = name if arm == ALL_ARMS else f"{name} · {escape(arm)}"
            cells = _before_rl(look, arm, reading, stage, EVALUATION)
            table.add_row(f"[italic]{label}[/]", *cells, _NOTHING, _NOTHING)
    return table


def _before_rl(look: _Look, arm: str, reading: Reading, stage: str, at: str) -> list[str]:
    both = f"{reading.id} + {reading.ood}"
    other = reading.alternative[0] if reading.alternative else ""
    wanted = (
        (reading.id, "format"),
        (reading.ood, "format"),
        (both, "gf_format_raw"),
        (both, "gf_joint_raw"),
        (other, "format"),
    )
    return [look.cell(arm, stage, at, cell, metric) for cell, metric in wanted]


def _after_rl(look: _Look, arm: str, reading: Reading, stage: str) -> list[str]:
    return [look.cell(arm, stage, EVALUATION, cell, "joint") for cell in (reading.id, reading.ood)]


def factor_table(summary: Summary) -> Table:
    """The Generalization Factor of cold starts, raw and gain, at equal steps (each that was asked for) and compute.

    Beside it the accuracy, as format can be bought with it.
    """
    flops = summary.curves.flops
    caption = (
        "Equal compute: "
        + ("none" if flops is None else f"{flops:.3g} FLOPs of the cold start, interpolated")
        + ". raw: of scores; gain: of gains over the base model, undefined where one is negative (summary.csv has it); "
        "an end of an interval is undefined where resamples are."
    )
    metrics = [f"gf_{of}_{kind}" for of in ("format", "joint") for kind in ("raw", "gain")]
    heads = ["at", "raw\nformat", "gain\nformat", "raw\njoint", "gain\njoint", "ID\naccuracy", "OOD\naccuracy"]
    table = _table("Generalization Factor and accuracy after the cold start", caption, heads)
    look = _Look(summary.table)
    for arm, stage in _cold_stages(summary).items():
        reading = summary.readings[arm]
        both = f"{reading.id} + {reading.ood}"
        for i, at in enumerate((*_steps(summary), EQUAL_COMPUTE)):
            cells = [look.cell(arm, stage, at, both, metric) for metric in metrics]
            cells += [look.cell(arm, stage, at, cell, "accuracy") for cell in (reading.id, reading.ood)]
            table.add_row("" if i else escape(arm), at, *cells)
    return table


def difference_table(summary: Summary) -> Table:
    """Each arm minus each before it (if those are many, the first only), paired by problem and seed."""
    steps = _steps(summary)
    flops = summary.curves.flops
    compute = "" if flops is None else f" = compute: at {flops:.3g} FLOPs of the cold start."
    one_seed = not (summary.table["seeds"] > 1).any()
    evidence = "evidence about these models, not about their methods: there is one seed" if one_seed else "evidence"
    table = _table(
        "Differences",
        "Percentage points with 95 % intervals, made as in the first table and paired by problem and seed. An interval "
        f"that leaves out 0 is {evidence}; but many comparisons are made, and none is corrected for.{compute}",
        [
            *(f"OOD format\n{step}" for step in steps),
            *(f"GF raw joint\n{step}" for step in steps),
            "GF raw joint\n= compute",
            "after RL\nID joint",
            "after RL\nOOD joint",
        ],
    )
    look, cold = _Look(summary.table), _cold_stages(summary)
    order = list(summary.readings)  # arms that only explore have no reading, and nothing to show here
    compared = select(summary.table, arm=order, versus=order)
    compared = compared[compared["at"] != TRAINING]
    pairs = sorted(
        set(zip(compared["arm"], compared["versus"], strict=True)),
        key=lambda pair: (order.index(pair[1]), order.index(pair[0])),
    )
    if len(pairs) > _MAX_COMPARED:
        pairs = [pair for pair in pairs if pair[1] == pairs[0][1]]
    for arm, versus in pairs:
        reading, stage = summary.readings[arm], cold.get(arm, "")
        both = f"{reading.id} + {reading.ood}"
        wanted = (
            *((stage, step, reading.ood, "format") for step in steps),
            *((stage, step, both, "gf_joint_raw") for step in steps),
            (stage, EQUAL_COMPUTE, both, "gf_joint_raw"),
            (FINAL_STAGE, EVALUATION, reading.id, "joint"),
            (FINAL_STAGE, EVALUATION, reading.ood, "joint"),
        )
        cells = [look.cell(arm, *place, versus) for place in wanted]
        table.add_row(f"{escape(arm)}\n[dim]minus[/] {escape(versus)}", *cells)
    return table


def exploration_table(summary: Summary) -> Table:
    """What the stages that explore found: one response against many, and how widely they spread."""
    shown = select(summary.table, versus="", at=EVALUATION)
    ks = sorted({int(metric.removeprefix(JOINT_PASS)) for metric in shown["metric"] if metric.startswith(JOINT_PASS)})
    lines = shown[shown["metric"].str.startswith(JOINT_PASS)][["arm", "stage", "cell"]].drop_duplicates()
    most = ks[-1] if ks else 1
    shares = [f"{JOINT_PASS}{ks[0] if ks else 1}", *(f"{of}{most}" for of in (JOINT_PASS, PASS, MAJ))]
    amounts = (RBF, ENTROPY, LENGTH)
    caption = (
        "Intervals as in summary.json. pass@k: at least one of k responses is right (% of problems); joint: in format, "
        "too; maj@k: what most of them answer is. rbf: tokens in the 95 % nucleus; entropy in nats; length in tokens."
    )
    heads = ["", *(name.replace(" ", "\n") for name in (*shares, *amounts))]
    table, look = _table("Exploration", caption, heads), _Look(summary.table)
    for arm, stage, cell in lines.itertuples(index=False):
        row = [look.cell(arm, stage, EVALUATION, cell, metric) for metric in shares]
        row += [look.amount(arm, stage, cell, metric) for metric in amounts]
        table.add_row(escape(arm), f"{escape(stage.removeprefix('explore_'))}\n[dim]{escape(cell)}[/]", *row)
    return table
