"""The verdict on a claim: ``verdict.json`` beside its ``expected.json``, a section of its README, a line of the index.

The rule is :data:`specs_lab.tracking.claims.RULE`. What is written between the markers of a README is generated, and
replaced every time; the rest of the README is the experimenter's.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from specs_lab.core.errors import Fault, UserError, raise_faults
from specs_lab.tracking.claims import EXPECTED_FILE, RANK, RESULTS_FOLDER, RULE, Claim, read_claim
from specs_lab.tracking.findings import Finding, find
from specs_lab.tracking.relation_figure import draw_relation

VERDICT_FILE, PAGE = "verdict.json", "README.md"
VERDICT_MARKS = ("<!-- verdict -->", "<!-- /verdict -->")
INDEX_MARKS = ("<!-- claims -->", "<!-- /claims -->")
OPEN = "open"
"""Stands in the index for a claim without a verdict."""

_LEAST_SHOWN, _FEW, _MANY = 0.0005, 0.02, 100.0
Word = Literal["confirmed", "not confirmed", "depends on"]
_DEPENDS = "depends on"


@dataclass(frozen=True)
class Verdict:
    """What the tests of a claim come to.

    Attributes:
        word: The verdict.
        details: What it depends on, or how it fails; a sentence.
        findings: What it rests on.
    """

    word: Word
    details: str
    findings: tuple[Finding, ...]

    def as_json(self, claim: Claim) -> dict[str, Any]:
        """The verdict as plain data; undefined numbers are None."""
        record = {
            "claim": claim.claim,
            "verdict": self.word,
            "details": self.details,
            "rule": RULE,
            "expected_sha256": _fingerprint(claim.folder),
            "tests": [asdict(finding) for finding in self.findings],
        }
        return _plain(record)


def reach(findings: Sequence[Finding]) -> Verdict:
    """The verdict by :data:`~specs_lab.tracking.claims.RULE`; of at least one finding."""
    found = tuple(findings)
    yes = _named(found, lambda one: one.outcome == "yes")
    no = _named(found, lambda one: one.outcome == "no")
    unclear = _named(found, lambda one: one.outcome == "unclear")
    if all(one.outcome == "yes" for one in found):
        return Verdict("confirmed", "Every test is yes on every run.", found)
    said = " ".join(f"{name}: {which}." for name, which in (("Yes", yes), ("No", no), ("Unclear", unclear)) if which)
    if yes:
        return Verdict(_DEPENDS, said, found)
    return Verdict("not confirmed", f"No test is yes{', and some are contradicted' if no else ''}. {said}", found)


def _named(findings: Sequence[Finding], which: Callable[[Finding], bool]) -> str:
    """The tests that are so, each with the runs on which it is, unless those are all that it counts on."""
    runs: dict[str, list[str]] = {}
    for one in filter(which, findings):
        runs.setdefault(one.says, []).append(one.run)
    asked = {says: sum(one.says == says for one in findings) for says in runs}
    return "; ".join(says if len(on) == asked[says] else f"{says} ({', '.join(on)})" for says, on in runs.items())


def decide(folder: Path) -> Verdict:
    """Tests an experiment's claim, writes ``verdict.json`` and figures of correlations, and fills in its README.

    Raises:
        UserError: If ``expected.json``, results or the README are not as they have to be; nothing is written then.
    """
    claim = read_claim(folder)
    page = folder / PAGE
    _between(page, VERDICT_MARKS)
    verdict = reach(find(claim))
    figures = _draw_relations(claim, verdict.findings)
    text = json.dumps(verdict.as_json(claim), indent=1, allow_nan=False, ensure_ascii=False)
    (folder / VERDICT_FILE).write_text(text + "\n", encoding="utf-8")
    _replace(page, VERDICT_MARKS, verdict_section(verdict, [path.relative_to(folder).as_posix() for path in figures]))
    return verdict


def _draw_relations(claim: Claim, findings: Sequence[Finding]) -> list[Path]:
    """A figure for every correlation, in its run's folder: ``relation.png``, the next ``relation_2.png``."""
    files, count = [], dict[str, int]()
    for one in findings:
        if one.points:
            count[one.run] = count.get(one.run, 0) + 1
            number = "" if count[one.run] == 1 else f"_{count[one.run]}"
            files.append(draw_relation(one, claim.folder / RESULTS_FOLDER / one.run / f"relation{number}.png"))
    return files


def verdict_section(verdict: Verdict, figures: Sequence[str] = ()) -> str:
    """The generated part of an experiment's README.

    Args:
        verdict: What it says.
        figures: Figures that it shows, relative to the README.
    """
    lines = ["| says | run | value | 95 % interval | seeds | outcome |", "|---|---|---:|---:|---:|---|"]
    for one in verdict.findings:
        why = f" ({one.reason})" if one.reason else ""
        cells = (one.says, one.run, _value(one), _interval(one), str(one.seeds), f"{one.outcome}{why}")
        lines.append("| " + " | ".join(map(_cell, cells)) + " |")
    blocks = [
        f"**Verdict: {verdict.word}.** {verdict.details}",
        "\n".join(lines),
        f"Values are as in `summary.csv`, shares out of 1. {RULE}",
        *(f"![{Path(figure).stem} of {Path(figure).parent.name}]({figure})" for figure in figures),
    ]
    return "\n\n".join(blocks)


def write_index(folder: Path) -> Path:
    """Writes the table of all claims in ``folder`` into its README, from their ``expected.json`` and ``verdict.json``.

    Raises:
        UserError: If a file cannot be understood, or a verdict is not by its ``expected.json``; with all of them.
    """
    page, faults, lines = folder / PAGE, list[Fault](), list[str]()
    for path in sorted(folder.glob(f"*/{EXPECTED_FILE}")):
        try:
            lines.append(_index_line(read_claim(path.parent)))
        except UserError as error:
            faults += error.faults
    if not lines and not faults:
        faults.append(Fault(str(folder), f"no folder in it has an {EXPECTED_FILE}", "give the folder of experiments"))
    try:
        _between(page, INDEX_MARKS)
    except UserError as error:
        faults += error.faults
    raise_faults(faults)
    head = ["| claim | found by the paper | found here | verdict |", "|---|---|---|---|"]
    _replace(page, INDEX_MARKS, "\n".join([*head, *lines]))
    return page


def _index_line(claim: Claim) -> str:
    path, name = claim.folder / VERDICT_FILE, claim.folder.name
    word, ours, on_what = OPEN, "", ""
    if path.is_file():
        record = _read_verdict(path)
        if record["expected_sha256"] != _fingerprint(claim.folder):
            what = f"is the verdict on another {EXPECTED_FILE} than there is now"
            raise UserError([Fault(str(path), what, f"run `specs-lab claim {claim.folder}`")])
        word, ours = record["verdict"], _ours(record["tests"])
        on_what = f": {_cell(record['details'])}" if word == _DEPENDS else ""
    cells = f"[{_cell(claim.claim)}]({name}/{PAGE})", _cell(claim.paper), ours, f"**{word}**{on_what}"
    return "| " + " | ".join(cells) + " |"


def _ours(tests: Sequence[Mapping[str, Any]]) -> str:
    """What tests found, a line a test: the value on each run with its interval."""
    said: dict[str, list[str]] = {}
    single = len({test["run"] for test in tests}) == 1
    for test in tests:
        ends = (math.nan if test[end] is None else test[end] for end in ("value", "low", "high"))
        keys = ("says", "run", "n", "seeds", "outcome", "reason", "test")
        one = Finding(**{key: test[key] for key in keys}, **dict(zip(("value", "low", "high"), ends, strict=True)))
        run = "" if single else f"{one.run} "
        said.setdefault(one.says, []).append(f"{run}{_value(one)} ({_interval(one)})")
    return "<br>".join(f"{_cell(says)}: {_cell(', '.join(values))}" for says, values in said.items())


def _read_verdict(path: Path) -> dict[str, Any]:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        _ = record["expected_sha256"], record["verdict"], record["details"], [test["says"] for test in record["tests"]]
    except (ValueError, KeyError, TypeError) as error:
        what = f"cannot be understood: {type(error).__name__}: {error}"
        raise UserError([Fault(str(path), what, f"run `specs-lab claim {path.parent}`")]) from error
    return record


def _value(one: Finding) -> str:
    arms = f" (rank correlation, {one.n} arms)" if one.test.get("kind") == RANK else ""
    return f"{_number(one.value, one)}{arms}"


def _interval(one: Finding) -> str:
    if math.isnan(one.low) and math.isnan(one.high):
        return "none"
    return " to ".join(_number(end, one) for end in (one.low, one.high))


def _number(value: float, of: Finding) -> str:
    """Three decimals, or digits where those would not show it; signed where it is a difference or a correlation."""
    if math.isnan(value):
        return "undefined"
    most = max(abs(number) for number in (of.value, of.low, of.high) if not math.isnan(number))
    sign = "+" if of.test.get("versus") or of.test.get("kind") == RANK else ""
    if 0 < abs(value) < _LEAST_SHOWN:
        return f"{value:{sign}.1g}"
    return f"{value:{sign}{'.3f' if _FEW <= most < _MANY else '.3g'}}"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _fingerprint(folder: Path) -> str:
    """Of what was expected: a verdict is by it, or by another."""
    return hashlib.sha256((folder / EXPECTED_FILE).read_bytes()).hexdigest()


def _plain(node: Any) -> Any:
    if isinstance(node, Mapping):
        return {key: _plain(value) for key, value in node.items()}
    if isinstance(node, (list, tuple)):
        return [_plain(value) for value in node]
    return None if isinstance(node, float) and not math.isfinite(node) else node


def _between(page: Path, marks: tuple[str, str]) -> tuple[str, str]:
    """What stands before and after a page's generated part, markers included."""
    fix = f"write it, with a line {marks[0]} and below it a line {marks[1]}"
    if not page.is_file():
        raise UserError([Fault(str(page), "is missing", fix)])
    text = page.read_text(encoding="utf-8")
    start, end = (text.find(mark) for mark in marks)
    if any(text.count(mark) != 1 for mark in marks) or start > end:
        raise UserError([Fault(str(page), f"does not have {marks[0]} and {marks[1]} once each, in this order", fix)])
    return text[: start + len(marks[0])], text[end:]


def _replace(page: Path, marks: tuple[str, str], generated: str) -> None:
    before, after = _between(page, marks)
    page.write_text(f"{before}\n\n{generated}\n\n{after}", encoding="utf-8")
