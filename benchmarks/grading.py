"""How well and how fast answers are graded: ``python -m benchmarks.grading``. Writes JSON.

Three graders meet the case file of the tests (:mod:`benchmarks.grading_cases`): specs_lab's, math-verify, and equality
of strings. Then the first two are timed (:mod:`benchmarks.grading_speed`). The process and its children are held to
one core, so that a pool of workers has no more of the machine than a plain call.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import sys
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.duel import ROOT
from benchmarks.grading_cases import Case, load_cases, types
from benchmarks.grading_speed import throughput
from benchmarks.limited import Limited
from benchmarks.results import machine, write
from benchmarks.tables import table
from specs_lab.core.errors import UserError
from specs_lab.rewards.grader import Verdict, grade, grade_many

GRADERS = ("specs_lab", "math-verify", "exact")
TOWERS = (
    *("9^9^9^9^9", "9**9**9**9**9", "9^{9^{9^{9^{9}}}}", "x^{9^{9^{9^{9}}}}"),
    *("(((99999!)!)!)!", "(x+1)^{99999999}", "1e999999999"),
)
QUICK_S = 0.1
_TAG = re.compile(r"<(answer|final)>(?P<held>.*?)</\1>", re.DOTALL)
_BOX = re.compile(r"\\boxed\{(?P<held>(?:[^{}]|\{(?:[^{}]|\{[^{}]*\})*\})*)\}")

Verdicts = list[bool | None]
"""None: no verdict, for an error or because none came in time."""


def marked(text: str) -> str:
    """What the last tag holds, and of that the last box: by the expressions that everybody writes."""
    for pattern in (_TAG, _BOX):
        held = [found["held"] for found in pattern.finditer(text)]
        text = held[-1] if held else text
    return text.strip()


def exact(case: Case) -> bool:
    """Equality of strings."""
    return case.prediction is not None and marked(case.prediction) == case.gold.strip()


def verdict(case: Case) -> Verdict:
    """What specs_lab's grader says, told what the case declares."""
    return grade(case.prediction, case.gold, case.kind, **case.options)


def ours(case: Case) -> bool | None:
    """Whether specs_lab's grader accepts; None if it refuses the gold answer."""
    try:
        return verdict(case).correct
    except UserError:
        return None


class Way(NamedTuple):
    """How math-verify is called.

    Attributes:
        gold: The gold answer's frame.
        prediction: The frame of what the response marks as its answer; None: the whole response as it is.
        letters: Whether to look for letters of options as well (``StringExtractionConfig``).
    """

    gold: str
    prediction: str | None
    letters: bool

    def __str__(self) -> str:
        said = "response" if self.prediction is None else self.prediction.format("marked")
        return f"{self.gold.format('gold')}, {said}{', letters' * self.letters}"


def ways(type: str) -> list[Way]:
    """The plausible ones; letters where golds are letters."""
    frames = (("{}", None), ("${}$", None), ("${}$", "{}"), ("${}$", "${}$"))
    letters = (False, True) if type in ("choice", "extraction", "hacks") else (False,)
    return [Way(*frame, also) for frame in frames for also in letters]


def tally(cases: Sequence[Case], verdicts: Verdicts) -> dict[str, int]:
    """A grader's mistakes. No verdict is no reward: what was right is rejected then."""
    pairs = list(zip(cases, verdicts, strict=True))
    return {
        "false_accepts": sum(verdict is True and not case.correct for case, verdict in pairs),
        "false_rejects": sum(verdict is not True and case.correct for case, verdict in pairs),
        "none": verdicts.count(None),
    }


def best_way(type: str, cases: Sequence[Case], asked: Limited) -> tuple[Way, Verdicts]:
    """math-verify's verdicts in whichever way it makes the fewest mistakes on this type."""

    def one(case: Case, way: Way) -> bool | None:
        said = case.prediction or ""
        text = said if way.prediction is None else way.prediction.format(marked(said))
        return asked.ask((way.gold.format(case.gold), text, way.letters))

    tried: list[tuple[Way, Verdicts]] = [(way, [one(case, way) for case in cases]) for way in ways(type)]
    return min(tried, key=lambda pair: sum(tally(cases, pair[1]).values()))


def can_be_told(case: Case) -> bool:
    """Whether the case declares nothing that only specs_lab's grader can be told."""
    return not case.options and case.type not in ("box", "point")


def accuracy(cases: Sequence[Case], limit: float) -> list[dict[str, Any]]:
    """Mistakes of all graders by type, and in all."""
    rows: list[dict[str, Any]] = []
    verdicts: dict[str, Verdicts] = {name: [] for name in GRADERS}
    ordered: list[Case] = []
    with Limited(limit) as asked:
        for type in sorted({case.type for case in cases}):
            print(f"accuracy: {type}", file=sys.stderr, flush=True)
            own = [case for case in cases if case.type == type]
            way, theirs = best_way(type, own, asked)
            said: tuple[Verdicts, ...] = ([ours(case) for case in own], theirs, [exact(case) for case in own])
            found: dict[str, Verdicts] = dict(zip(GRADERS, said, strict=True))
            rows.append({**row(type, own, found), "way": str(way)})
            ordered += own
            for name in GRADERS:
                verdicts[name] += found[name]
    for name, told in (("all", [True] * len(ordered)), ("all that can be told", map(can_be_told, ordered))):
        chosen = [place for place, known in enumerate(told) if known]
        part = {grader: [said[place] for place in chosen] for grader, said in verdicts.items()}
        rows.append({**row(name, [ordered[place] for place in chosen], part), "way": ""})
    return rows


def row(name: str, cases: Sequence[Case], verdicts: dict[str, Verdicts]) -> dict[str, Any]:
    """One line of the table of mistakes."""
    right = sum(case.correct for case in cases)
    graders = {grader: tally(cases, said) for grader, said in verdicts.items()}
    return {"type": name, "n": len(cases), "right": right, "wrong": len(cases) - right, "graders": graders}


def quick(cases: Iterable[Case]) -> list[Case]:
    """Those that are answered at once: a tower takes its whole limit, each time."""
    chosen = []
    for case in cases:
        start = time.perf_counter()
        said = ours(case)
        if said is not None and time.perf_counter() - start < QUICK_S:
            chosen.append(case)
    return chosen


def threads(cases: Sequence[Case], count: int, workers: int) -> dict[str, Any]:
    """Grades the same cases from one thread and from several, which take turns far more often than usual."""
    chosen = random.Random(0).choices(quick(cases), k=count)
    expected = [verdict(case) for case in chosen]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        with ThreadPoolExecutor(workers) as pool:
            start = time.perf_counter()
            found = list(pool.map(verdict, chosen))
            seconds = time.perf_counter() - start
    finally:
        sys.setswitchinterval(interval)
    differences = sum(one != other for one, other in zip(expected, found, strict=True))
    return {"grades": count, "threads": workers, "seconds": seconds, "differences": differences}


def towers() -> list[dict[str, Any]]:
    """How long each takes to be refused, and whether the next answer and neighbours in a batch get their due."""
    rows = []
    for tower in TOWERS:
        start = time.perf_counter()
        accepted = grade(tower, "2x+2", "expression").correct
        seconds = time.perf_counter() - start
        after = grade("2(x+1)", "2x+2", "expression").correct
        batch = grade_many([tower, "2(x+1)", "2(x+2)"], ["2x+2"] * 3, ["expression"] * 3)
        beside = [each.correct for each in batch] == [False, True, False]
        due = {"accepted": accepted, "next_is_right": after and beside}
        rows.append({"tower": tower, "seconds": seconds, **due})
    return rows


def hold_to_one_core() -> bool:
    """Pins this process and all that it starts, where the system can do that."""
    if not hasattr(os, "sched_setaffinity"):
        return False
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    return True


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures, writes, prints the tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.grading", description=__doc__)
    parser.add_argument("--types", nargs="+", choices=types(), help="only these cases")
    parser.add_argument("--limit", type=float, default=5.0, help="seconds that math-verify has for a case")
    parser.add_argument("--count", type=int, default=2000, help="texts a repeat; math-verify takes a twentieth")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--grades", type=int, default=10_000, help="grades from several threads")
    parser.add_argument("--workers", type=int, default=8, help="those threads")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "grading.json")
    options = parser.parse_args(arguments)
    settings = {name: value for name, value in vars(options).items() if name != "out"}
    settings |= {"threads": 1, "one_core": hold_to_one_core()}
    cases = load_cases(options.types)
    facts = machine()
    facts["versions"]["math-verify"] = version("math-verify")
    results = {"kind": "grading", "machine": facts, "settings": settings}
    results["throughput"] = throughput(options.count, options.repeats)
    results["towers"] = towers()
    results["threads"] = threads(cases, options.grades, options.workers)
    results["accuracy"] = accuracy(cases, options.limit)
    write(results, options.out)
    print(table(results))
    return 0


if __name__ == "__main__":
    sys.exit(main())
