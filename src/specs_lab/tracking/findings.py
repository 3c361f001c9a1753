"""What the tests of a claim find in the summaries of its runs."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from dataclasses import asdict, dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from specs_lab.core.errors import Fault, UserError, raise_faults, suggest
from specs_lab.core.seeding import numpy_rng
from specs_lab.metrics.statistics import RESAMPLES, Interval, percentile_interval
from specs_lab.tracking.claims import RANK, ArmTest, Claim, Outcome, Place, RankTest, outcome
from specs_lab.tracking.estimates import ESTIMATE_COLUMNS
from specs_lab.tracking.frames import select
from specs_lab.tracking.scores import ALL_ARMS

Floats = NDArray[np.float64]

FEWEST_ARMS = 5
"""Of fewer arms a rank correlation says nothing."""
_TEXTS = ("arm", "versus", "stage", "at", "cell", "metric", "note")
_NUMBERS = tuple(name for name in ESTIMATE_COLUMNS if name not in _TEXTS)
_ENDS = ("value", "low", "high")


@dataclass(frozen=True)
class Finding:
    """What one test found in one run.

    Attributes:
        says: What the test means if it is yes.
        run: The run.
        value: The estimate, the difference, or Spearman's correlation.
        low: Lower end of its 95 % interval; NaN where undefined.
        high: Upper end.
        n: Problems (or steps, of training); of a correlation the arms.
        seeds: Independently trained models; of a correlation the fewest of an arm.
        outcome: What the test says.
        reason: Why that is unclear, where it is more than an interval that holds ``than``.
        test: The test itself, with the arms that its patterns stand for.
        points: Of a correlation, the arms: arm, then value, low and high of x and of y.
    """

    says: str
    run: str
    value: float
    low: float
    high: float
    n: int
    seeds: int
    outcome: Outcome
    reason: str
    test: Mapping[str, Any]
    points: tuple[Mapping[str, Any], ...] = field(default=())


def read_summary(path: Path) -> pd.DataFrame:
    """Reads a ``summary.csv``.

    Raises:
        UserError: If a column is missing.
    """
    types = dict.fromkeys(_TEXTS, "str")
    table = pd.read_csv(path, dtype=types, keep_default_na=False, na_values={name: [""] for name in _NUMBERS})  # pyright: ignore
    missing = [name for name in ESTIMATE_COLUMNS if name not in table.columns]
    if missing:
        fix = "write it again by `specs-lab report`"
        raise UserError([Fault(str(path), f"has no column {', '.join(missing)}", fix)])
    return table


def find(claim: Claim) -> list[Finding]:
    """Runs the tests of a claim on the results of its runs, test by test.

    Raises:
        UserError: If results are missing, or do not have what a test asks for; with everything that is wrong.
    """
    absent = [run for run in claim.runs if not claim.summary(run).is_file()]
    where = "specs-lab report <sweep> --out"
    raise_faults(
        [
            Fault(
                str(claim.summary(run)),
                f"run {run} has no results",
                f"run `{claim.runs[run]}`, then `{where} {claim.summary(run).parent}`",
            )
            for run in absent
        ]
    )
    tables = {run: read_summary(claim.summary(run)) for run in claim.runs}
    findings: list[Finding] = []
    faults: list[Fault] = []
    for number, test in enumerate(claim.tests):
        for run in test.runs or claim.runs:
            look = _Look(tables[run], f"tests[{number}] ({test.says}) on {run}")
            found = _arm_finding(test, run, look) if isinstance(test, ArmTest) else _rank_finding(test, run, look)
            if found is None:
                faults += look.faults
            else:
                findings.append(found)
    raise_faults(faults)
    return findings


@dataclass
class _Look:
    """Looks estimates up in one run's summary, and says what there is instead of those that there are not."""

    table: pd.DataFrame
    where: str
    faults: list[Fault] = field(default_factory=list)

    def fault(self, what: str, fix: str) -> None:
        self.faults.append(Fault(self.where, what, fix))

    def arm(self, pattern: str) -> str | None:
        """The arm that is called so or fits the pattern."""
        known = list(dict.fromkeys(self.table["arm"]))
        if pattern in known:
            return pattern
        fits = [arm for arm in known if arm != ALL_ARMS and fnmatchcase(arm, pattern)]
        if len(fits) == 1:
            return fits[0]
        if fits:
            self.fault(f"several arms are called {pattern!r}", f"name one of {', '.join(fits)}")
        else:
            self.fault(f"no arm is called {pattern!r}", suggest(pattern, known))
        return None

    def narrow(self, rows: pd.DataFrame, place: Place, of: str) -> pd.DataFrame | None:
        """The rows of a place, one an arm."""
        for column in ("stage", "at", "cell", "metric"):
            value = getattr(place, column)
            found = select(rows, **{column: value})
            if found.empty:
                self.fault(f"{of}: there is no estimate with {column} {value!r}", suggest(value, set(rows[column])))
                return None
            rows = found
        steps = sorted(set(rows["step"].dropna()))
        if place.step is not None:
            rows = select(rows, step=place.step)
            if rows.empty:
                there = ", ".join(f"{step:g}" for step in steps)
                fix = f"name one of the steps {there}" if steps else "leave the step out: there is one place only"
                self.fault(f"{of}: there is no estimate at step {place.step:g}", fix)
                return None
        elif rows["arm"].duplicated().any():
            there = ", ".join(f"{step:g}" for step in steps)
            self.fault(f"{of}: there are estimates at several steps", f"name one of the steps {there}")
            return None
        return rows


def _arm_finding(test: ArmTest, run: str, look: _Look) -> Finding | None:
    arm, versus = look.arm(test.arm), look.arm(test.versus) if test.versus else ""
    if arm is None or versus is None:
        return None
    rows, of = select(look.table, arm=arm, versus=versus), f"{arm} minus {versus}" if versus else arm
    if versus:
        rows = pd.concat([rows, _turned(select(look.table, arm=versus, versus=arm))])
    if rows.empty:
        compared = look.table.loc[(look.table["arm"] == arm) & (look.table["versus"] != ""), "versus"]
        others = [*compared, *look.table.loc[look.table["versus"] == arm, "arm"]]
        look.fault(f"{arm} is not compared with {versus}", f"it is with: {', '.join(dict.fromkeys(others)) or 'none'}")
        return None
    found = look.narrow(rows, test.place, of)
    if found is None:
        return None
    (row,) = found.to_dict(orient="records")
    ends = row["value"], row["low"], row["high"]
    says = outcome(*ends, test.sign, test.than)
    asked = {"arm": arm, "versus": versus, **asdict(test.place), "sign": test.sign, "than": test.than}
    return Finding(test.says, run, *ends, int(row["n"]), int(row["seeds"]), says, _reason(row), asked)


def _turned(rows: pd.DataFrame) -> pd.DataFrame:
    """Differences the other way round."""
    return rows.assign(
        arm=rows["versus"], versus=rows["arm"], value=-rows["value"], low=-rows["high"], high=-rows["low"]
    )


def _reason(row: Mapping[Hashable, Any]) -> str:
    """Why an estimate has no interval; empty if it has one."""
    if all(math.isfinite(row[end]) for end in _ENDS):
        return ""
    if row["note"]:
        return str(row["note"])
    return "one seed has no interval" if row["seeds"] == 1 else "its interval has an undefined end"


def _rank_finding(test: RankTest, run: str, look: _Look) -> Finding | None:
    plain = look.table.loc[(look.table["versus"] == "") & (look.table["arm"] != ALL_ARMS)]
    rows = [look.narrow(plain, place, name) for name, place in (("x", test.x), ("y", test.y))]
    sides = [{one["arm"]: one for one in found.to_dict(orient="records")} for found in rows if found is not None]
    if len(sides) < len(rows):
        return None
    known = [arm for arm in sides[0] if arm in sides[1] and all(math.isfinite(side[arm]["value"]) for side in sides)]
    # Arms of two sweeps may be one and the same study: equal to the last digit, intervals included, it counts once.
    alike = {tuple(side[arm][end] for side in sides for end in _ENDS): arm for arm in reversed(known)}
    arms = [arm for arm in known if arm in alike.values()]
    points = tuple(
        {
            "arm": arm,
            **{f"{axis}_{end}": side[arm][end] for axis, side in zip("xy", sides, strict=True) for end in _ENDS},
        }
        for arm in arms
    )
    interval, reason = Interval(math.nan, math.nan, math.nan), f"{len(arms)} arms have both; {FEWEST_ARMS} are needed"
    if len(arms) >= FEWEST_ARMS:
        x, y = (np.array([side[arm]["value"] for arm in arms]) for side in sides)
        interval = rank_interval(x, y)
        reason = "" if math.isfinite(interval.value) else "one of the two is the same for all arms"
    ends = interval.value, interval.low, interval.high
    seeds = min((int(side[arm]["seeds"]) for side in sides for arm in arms), default=0)
    asked = {"kind": RANK, "x": asdict(test.x), "y": asdict(test.y), "sign": test.sign, "than": test.than}
    says = outcome(*ends, test.sign, test.than)
    return Finding(test.says, run, *ends, len(arms), seeds, says, reason, asked, points)


def spearman(x: Floats, y: Floats) -> Floats:
    """Spearman's rank correlation over the last axis, ties at their mean rank; NaN where one side is constant."""

    def centred(values: Floats) -> Floats:
        ranks = pd.DataFrame(values.reshape(-1, values.shape[-1])).rank(axis=1).to_numpy().reshape(values.shape)
        return ranks - ranks.mean(axis=-1, keepdims=True)

    x, y = centred(x), centred(y)
    spread = np.sqrt(np.square(x).sum(axis=-1) * np.square(y).sum(axis=-1))
    return np.where(spread > 0, (x * y).sum(axis=-1) / np.where(spread > 0, spread, 1.0), np.nan)


def rank_interval(x: Floats, y: Floats) -> Interval:
    """Spearman's correlation over arms with the percentile interval of a bootstrap over them.

    That the arms' values are estimates themselves does not enter; of few arms the interval is narrow by chance.

    Args:
        x: One value an arm, (A,).
        y: Another.
    """
    picks = numpy_rng("bootstrap", "arms", len(x)).integers(len(x), size=(RESAMPLES, len(x)))
    return percentile_interval(float(spearman(x, y)), spearman(x[picks], y[picks]), difference=True)
