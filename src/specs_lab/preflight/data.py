"""Whether data are what they are taken for: their identity, their broken rows, their gold answers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from specs_lab.core.errors import UserError
from specs_lab.preflight.findings import Finding
from specs_lab.preflight.uses import Use
from specs_lab.problems.scoring import asked
from specs_lab.problems.tasks import Task
from specs_lab.rewards.golds import GoldReport, check_golds
from specs_lab.stages.context import Study
from specs_lab.stages.scoring import open_without_judge

_MUCH = 0.2
"""Share of broken rows from which on they are worth a warning."""


@dataclass
class Golds:
    """What became of the gold answers of each use.

    Attributes:
        reports: The report of each use, by its name.
        tasks: The tasks of each whose gold answers can be used.
        findings: What is to be said of them.
    """

    reports: dict[str, GoldReport] = field(default_factory=dict)
    tasks: dict[str, list[Task]] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)


def check_use(use: Use, study: Study, golds: Golds) -> None:
    """Draws the tasks of a use and reads their gold answers; adds what it finds to ``golds``."""
    name = f"gold answers: {use.name}"
    try:
        tasks = list(use.draw())
    except UserError as error:
        golds.findings += [
            Finding(check=name, level="fault", what=f"{f.where}: {f.what}", fix=f.fix) for f in error.faults
        ]
        return
    graded = tasks if use.suite is None else use.suite.graded(tasks)
    report = check_golds(map(asked, graded))
    broken = {fault.id for fault in report.faults}
    golds.reports[use.name] = report
    golds.tasks[use.name] = [task for task in tasks if task.id not in broken]
    kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(report.kinds.items()))
    figures = {"checked": report.checked, "unusable": len(broken), "kinds": dict(report.kinds)}
    for fault in open_without_judge(report, study.judge, use.name):
        golds.findings.append(Finding(check=name, level="fault", what=fault.what, fix=fault.fix))
    if report.faults:
        listed = "; ".join(f"{fault.id}: {fault.what}" for fault in report.faults)
        what = f"{len(report.faults)} of {report.checked} cannot be used: {listed}"
        fix = "correct the data, or its answer type"
        golds.findings.append(Finding(check=name, level="fault", what=what, fix=fix, figures=figures))
        return
    elsewhere = len(tasks) - len(graded)
    others = f"; {elsewhere} are compared by the benchmark's own rules" if elsewhere else ""
    what = f"{report.checked} can be graded ({kinds or 'there are none'}){others}"
    golds.findings.append(Finding(check=name, level="ok", what=what, figures=figures))


# --- identities and rows ---


def check_identities(study: Study) -> Iterator[Finding]:
    """What names the content of models, problems, benchmark and pairs."""
    for name, node in study.nodes().items():
        yield from _identity(name, node)
        parts = getattr(node, "parts", None)
        for part, source in parts.items() if isinstance(parts, Mapping) else ():
            yield from _identity(f"{name}.parts.{part}", source)


def _identity(name: str, node: Any) -> Iterator[Finding]:
    check = f"identity: {name}"
    said, local = getattr(node, "identity", None), getattr(node, "file", None)
    try:
        found = said() if callable(said) else None
        if found is None and isinstance(local, Path):
            from specs_lab.stages.store import file_hash

            found = {"sha256": file_hash(local)}
    except UserError as error:
        yield from (Finding(check=check, level="fault", what=f"{f.where}: {f.what}", fix=f.fix) for f in error.faults)
        return
    except OSError as error:
        yield Finding(check=check, level="fault", what=str(error), fix="give a file that can be read")
        return
    if not isinstance(found, Mapping) or not found:
        return
    what = ", ".join(f"{key} {value}" for key, value in found.items())
    from specs_lab.core.hub import is_commit

    revision, commit = str(getattr(node, "revision", "")), str(found.get("commit", ""))
    if commit and not getattr(node, "path", "") and not is_commit(revision):
        what = (
            f"{getattr(node, 'repo', name)}: revision '{revision}' means {commit} today, and may mean another tomorrow"
        )
        yield Finding(
            check=check, level="note", what=what, fix=f"set {name}.revision={commit}", figures={"commit": commit}
        )
        return
    yield Finding(check=check, level="ok", what=what, figures=dict(found))


def check_rows(study: Study) -> Iterator[Finding]:
    """Rows of datasets that cannot be used, by reason."""
    parts = getattr(study.problems, "parts", None) or {}
    named = [("problems", study.problems), *((f"problems.parts.{name}", part) for name, part in parts.items())]
    for name, node in [*named, ("suite", study.suite)]:
        try:
            counts = _counts(node)
        except UserError as error:
            for fault in error.faults:
                yield Finding(check=f"rows: {name}", level="fault", what=f"{fault.where}: {fault.what}", fix=fault.fix)
            continue
        if counts is None or not counts.rows:
            continue
        broken = sum(counts.broken.values())
        by_share = sorted(counts.broken.items(), key=lambda item: -item[1])
        shares = ", ".join(f"{reason} {count / counts.rows:.1%}" for reason, count in by_share)
        what = f"{broken} of {counts.rows} rows cannot be used" + (f": {shares}" if broken else "")
        figures = {
            "rows": counts.rows,
            "broken": dict(counts.broken),
            "examples": dict(getattr(counts, "examples", {})),
        }
        many = broken > _MUCH * counts.rows
        yield Finding(
            check=f"rows: {name}",
            level="warning" if many else "ok",
            what=what,
            fix="`specs-lab inspect` shows them; give columns or limits that fit the data" if many else "",
            figures=figures,
        )


def _counts(node: Any) -> Any:
    """What became of the rows of an option's dataset, if it has one: an object with ``rows`` and ``broken``."""
    loaded = getattr(node, "loaded", None)
    for found in (getattr(getattr(node, "index", None), "counts", None), loaded() if callable(loaded) else loaded):
        if hasattr(found, "rows") and hasattr(found, "broken"):
            return found
    return None
