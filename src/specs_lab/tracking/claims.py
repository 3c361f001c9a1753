"""What an experiment claims, and how that is tested: its ``expected.json``, written before the run.

::

    {
      "claim": "one line",
      "source": "arXiv 2510.25801",
      "paper": "what the paper found, with its figures",
      "expected": "what is expected here and why (optional)",
      "runs": {"small-0": "the command that makes results/small-0", "small-1": "..."},
      "tests": [
        {"says": "DPO generalises better than SFT", "arm": "dpo", "versus": "sft", "stage": "cold", "at": "equal steps",
         "step": 25, "cell": "id + ood", "metric": "gf_format_raw", "sign": "+"},
        {"says": "GF predicts what RL ends with", "kind": "rank correlation", "sign": "+",
         "x": {"stage": "cold", "at": "last step", "cell": "id + ood", "metric": "gf_format_raw"},
         "y": {"stage": "evaluate_final", "at": "evaluation", "cell": "ood", "metric": "joint"}}
      ]
    }

A test of an arm without ``versus`` is of the estimate itself. Every test may name what its value has to be above
(``sign`` "+") or below ("-") as ``than``, by default 0. An arm is named as in ``summary.csv``, or by a pattern (shell
wildcards) that fits one arm of a run, as arms are called differently from run to run. A test counts on every run unless
it names its ``runs``. Several claims may rest on one sweep: all but one then name the experiment that has its results
as ``results_of``. Keys beside these are the experiment's own notes; in a test they are mistakes.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from specs_lab.core.errors import Fault, UserError, raise_faults, suggest

EXPECTED_FILE, RESULTS_FOLDER, SUMMARY_FILE = "expected.json", "results", "summary.csv"
RULE = (
    "A test is *yes* on a run if its 95 % interval lies wholly on the expected side, *no* if it lies wholly on the "
    "other side, and *unclear* otherwise; what is undefined is unclear. A claim is *confirmed* if every test is yes on "
    "every run, *not confirmed* if none is yes, and otherwise *depends on* what its verdict names."
)
"""How verdicts are reached; the same for every experiment."""

Outcome = Literal["yes", "no", "unclear"]
Sign = Literal["+", "-"]
RANK = "rank correlation"
_PLACE = ("stage", "at", "metric")
_PLACE_KEYS = (*_PLACE, "cell", "step")
_COMMON_KEYS = ("says", "kind", "sign", "than", "runs")


@dataclass(frozen=True)
class Place:
    """Which estimates of a summary are meant; see :class:`specs_lab.tracking.estimates.Estimate`.

    Attributes:
        stage: The stage.
        at: Where on its curve.
        metric: The metric.
        cell: The cell; "" for training.
        step: The step; None where there is one only.
    """

    stage: str
    at: str
    metric: str
    cell: str = ""
    step: float | None = None


@dataclass(frozen=True)
class ArmTest:
    """Whether an estimate, or the difference of an arm and another, is on the expected side.

    Attributes:
        says: What it means if it is.
        sign: The expected side.
        place: Which estimate.
        arm: The arm, or a pattern that fits one.
        versus: The arm that it is compared with, or a pattern; "" for none.
        than: What it is to be above or below.
        runs: The runs that it counts on; all if empty.
    """

    says: str
    sign: Sign
    place: Place
    arm: str
    versus: str = ""
    than: float = 0.0
    runs: tuple[str, ...] = ()


@dataclass(frozen=True)
class RankTest:
    """Whether arms that are higher in one estimate are higher (``+``) or lower (``-``) in another.

    Attributes:
        says: What it means if they are.
        sign: The expected side of Spearman's correlation over the arms of a run.
        x: The one estimate.
        y: The other.
        than: What the correlation is to be above or below.
        runs: The runs that it counts on; all if empty.
    """

    says: str
    sign: Sign
    x: Place
    y: Place
    than: float = 0.0
    runs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Claim:
    """An experiment as it was written down before its run.

    Attributes:
        folder: Its folder.
        claim: The claim, in one line.
        source: Who makes it.
        paper: What they found.
        expected: What is expected here.
        runs: {run: the command that makes its results}.
        tests: What the verdict rests on.
        results_of: The experiment beside it whose results it rests on; empty for its own.
    """

    folder: Path
    claim: str
    source: str
    paper: str
    expected: str
    runs: Mapping[str, str]
    tests: tuple[ArmTest | RankTest, ...]
    results_of: str = ""

    def summary(self, run: str) -> Path:
        """Where the estimates of a run are."""
        folder = self.folder.parent / self.results_of if self.results_of else self.folder
        return folder / RESULTS_FOLDER / run / SUMMARY_FILE


def outcome(value: float, low: float, high: float, sign: Sign, than: float = 0.0) -> Outcome:
    """What a test says, by :data:`RULE`."""
    if not all(map(math.isfinite, (value, low, high))):
        return "unclear"
    above, below = low > than, high < than
    if sign == "-":
        above, below = below, above
    return "yes" if above else "no" if below else "unclear"


def read_claim(folder: Path) -> Claim:
    """Reads an experiment's ``expected.json``.

    Raises:
        UserError: If it is missing or cannot be understood, with everything that is wrong with it.
    """
    path = folder / EXPECTED_FILE
    if not path.is_file():
        what = "is missing: an experiment says what it expects before it is run"
        raise UserError([Fault(str(path), what, "write it, see specs_lab.tracking.claims")])
    try:
        node = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError([Fault(str(path), f"is no JSON: {error}", "mend it")]) from error
    reader = _Reader()
    claim = reader.claim(folder, node, str(path))
    raise_faults(reader.faults)
    return claim


@dataclass
class _Reader:
    """Reads parts of ``expected.json`` and collects what is wrong with them."""

    faults: list[Fault] = field(default_factory=list)

    def claim(self, folder: Path, node: object, where: str) -> Claim:
        node = self.mapping(node, where)
        texts = {key: self.text(node, key, where) for key in ("claim", "source", "paper")}
        commands = self.mapping(node.get("runs"), f"{where}: runs", empty=False)
        for run, command in commands.items():
            if not run or Path(run).name != run:
                self.fault(f"{where}: runs", f"{run!r} is no name for a folder", "name it plainly, e.g. 'small-0'")
            if not isinstance(command, str):
                self.fault(f"{where}: runs: {run}", f"{command!r} is no command", "give it as text")
        listed = node.get("tests")
        if not isinstance(listed, list) or not listed:
            self.fault(f"{where}: tests", "there are none", "list at least one, see specs_lab.tracking.claims")
            listed = []
        tests = tuple(self.test(one, f"{where}: tests[{i}]", commands) for i, one in enumerate(listed))
        said = [test.says for test in tests]
        for twice in sorted({one for one in said if one and said.count(one) > 1}):
            self.fault(f"{where}: tests", f"{twice!r} is said by two of them", "say what each of them means")
        expected = self.text(node, "expected", where, "")
        source = self.text(node, "results_of", where, "")
        if source and (Path(source).name != source or not (folder.parent / source / EXPECTED_FILE).is_file()):
            fix = "name a folder beside this one that has an expected.json"
            self.fault(f"{where}: results_of", f"there is no experiment {source!r}", fix)
        return Claim(folder, **texts, expected=expected, runs=commands, tests=tests, results_of=source)

    def test(self, node: object, where: str, commands: Mapping[str, Any]) -> ArmTest | RankTest:
        node = self.mapping(node, where)
        says, sign = self.text(node, "says", where), self.text(node, "sign", where)
        if sign and sign not in ("+", "-"):
            self.fault(f"{where}: sign", f"{sign!r} is no side", "write '+' or '-'")
        side: Sign = "-" if sign == "-" else "+"
        than, runs = self.number(node, "than", where) or 0.0, self.runs(node, where, commands)
        kind = node.get("kind", "")
        if kind == RANK:
            self.known(node, (*_COMMON_KEYS, "x", "y"), where)
            x, y = (self.place(node.get(axis), f"{where}: {axis}") for axis in ("x", "y"))
            return RankTest(says, side, x, y, than, runs)
        if kind:
            self.fault(f"{where}: kind", f"{kind!r} is no kind of test", f"leave it out, or write '{RANK}'")
        self.known(node, (*_COMMON_KEYS, *_PLACE_KEYS, "arm", "versus"), where)
        arm, versus = self.text(node, "arm", where), self.text(node, "versus", where, "")
        place = self.place({key: node[key] for key in _PLACE_KEYS if key in node}, where)
        return ArmTest(says, side, place, arm, versus, than, runs)

    def place(self, node: object, where: str) -> Place:
        node = self.mapping(node, where)
        self.known(node, _PLACE_KEYS, where)
        texts = {key: self.text(node, key, where) for key in _PLACE}
        return Place(**texts, cell=self.text(node, "cell", where, ""), step=self.number(node, "step", where))

    def runs(self, node: Mapping[str, Any], where: str, known: Iterable[str]) -> tuple[str, ...]:
        names = node.get("runs", [])
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            self.fault(f"{where}: runs", f"{names!r} is no list of runs", "list their names, or leave it out")
            return ()
        for name in names:
            if name not in known:
                self.fault(f"{where}: runs", f"there is no run {name!r}", suggest(name, known))
        return tuple(names)

    def mapping(self, node: object, where: str, *, empty: bool = True) -> dict[str, Any]:
        if isinstance(node, dict) and (node or empty):
            return node
        self.fault(where, f"{node!r} is no JSON object" if node else "is missing", "give keys and values in braces")
        return {}

    def text(self, node: Mapping[str, Any], key: str, where: str, default: str | None = None) -> str:
        value = node.get(key, default)
        if isinstance(value, str) and (value or default is not None):
            return value
        what = "is missing" if value in (None, "") else f"{value!r} is no text"
        self.fault(f"{where}: {key}", what, "see specs_lab.tracking.claims for what it means")
        return ""

    def number(self, node: Mapping[str, Any], key: str, where: str) -> float | None:
        value = node.get(key)
        if value is None or (isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)):
            return value
        self.fault(f"{where}: {key}", f"{value!r} is no number", "write a number, or leave it out")
        return None

    def known(self, node: Mapping[str, Any], keys: Iterable[str], where: str) -> None:
        for key in node:
            if key not in keys:
                self.fault(f"{where}: {key}", "is no key of a test", suggest(key, keys))

    def fault(self, where: str, what: str, fix: str) -> None:
        self.faults.append(Fault(where, what, fix))
