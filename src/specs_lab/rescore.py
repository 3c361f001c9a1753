"""Scores stored responses again, without model or dataset: ``specs-lab rescore <artifact, job or sweep>``.

``specs-lab rescore multirun/<date>/<time> judge=overlap judge.threshold=0.7 --out rescored``
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from specs_lab.core.errors import EXIT_USER_ERROR, Fault, UserError, raise_faults

if TYPE_CHECKING:
    from specs_lab.metrics.statistics import Interval
    from specs_lab.rewards.judge import Judge
    from specs_lab.tracking.rescoring import Metric

TABLE, PAGE = "rescored.csv", "rescored.md"
_GROUP = "judge"


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="specs-lab rescore", description="Scores the responses of finished evaluations again."
    )
    parser.add_argument("folder", type=Path, help="an artifact of `evaluate` or `explore`, a job, or a sweep")
    parser.add_argument("overrides", nargs="*", metavar="judge=...", help="who judges open answers, and its options")
    parser.add_argument("--out", type=Path, help=f"where {TABLE} and {PAGE} go; by default the folder itself")
    return parser.parse_intermixed_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """The command line. Exit codes: 0 fine, 2 wrong input."""
    arguments = _arguments(argv)
    try:
        _rescore(arguments.folder, arguments.overrides, arguments.out or arguments.folder)
    except UserError as error:
        print(error, file=sys.stderr)
        sys.exit(EXIT_USER_ERROR)


def _rescore(folder: Path, overrides: Sequence[str], out: Path) -> None:
    import pandas as pd

    from specs_lab.tracking.markdown import table_markdown
    from specs_lab.tracking.rescoring import find_places, rescore

    judge = _judge(overrides)
    places = find_places(folder)
    frames, metrics = [], []
    for place in places:
        frame, found = rescore(place, judge)
        frames.append(frame)
        metrics += found
    table = pd.concat(frames, ignore_index=True)
    out.mkdir(parents=True, exist_ok=True)
    table.to_csv(out / TABLE, index=False)
    shown = metric_table(metrics)
    how = f"Judge: `{' '.join(overrides) or 'none'}`. {int(table['changed'].sum())} of {len(table)} verdicts changed."
    (out / PAGE).write_text(f"{how}\n\n{table_markdown(shown)}\n", encoding="utf-8")
    console = Console()
    console.print(shown)
    console.print(how, highlight=False)
    console.print(str(out / PAGE), highlight=False, soft_wrap=True)


def _judge(overrides: Sequence[str]) -> Judge | None:
    """The judge that the overrides choose; none by default.

    Raises:
        UserError: If they are about something else, or wrong.
    """
    foreign = [one for one in overrides if one.lstrip("+").partition("=")[0].partition(".")[0] != _GROUP]
    fix = "give judge=<choice> and judge.<option>=<value> only"
    raise_faults([Fault(one, "has nothing to do with scoring again", fix) for one in foreign])
    from specs_lab.cli.composition import composer
    from specs_lab.cli.preflight import find_faults
    from specs_lab.cli.values import option_of

    with composer() as known:
        raise_faults(find_faults(known, overrides, sweep=False, check_values=False))
        judge: Any = option_of(known.compose(list(overrides)), _GROUP)
    return judge.make()


def metric_table(metrics: Sequence[Metric]) -> Table:
    """Old and new values in per cent with their intervals, and how many verdicts changed."""
    from specs_lab.evaluation.benchmarks.base import COUNTS

    caption = f"per cent, or a number ({COUNTS}); 95 % interval: bootstrap over problems, or over groups of them"
    table = Table(title="Scored again", caption=caption)
    for name in ("evaluation", "cell", "metric"):
        table.add_column(name)
    for name in ("n", "old", "new", "gained", "lost"):
        table.add_column(name, justify="right")
    for one in metrics:
        at = f"{one.where} (step {one.step})" if one.step else one.where
        shown = _counted if one.name.startswith(COUNTS) else _shown
        changes = ["" if count is None else str(count) for count in (one.gained, one.lost)]
        table.add_row(at, one.cell, one.name, str(one.n), *map(shown, (one.old, one.new)), *changes)
    return table


def _counted(interval: Interval) -> str:
    """A number of groups."""
    return "-" if interval.value != interval.value else f"{interval.value:g}"


def _shown(interval: Interval) -> str:
    """A value over its interval."""
    if interval.value != interval.value:
        return "-"
    value = f"{100 * interval.value:.1f}"
    if interval.low != interval.low or interval.high != interval.high:
        return value
    return f"{value}\n{100 * interval.low:.1f} to {100 * interval.high:.1f}"


if __name__ == "__main__":
    main()
