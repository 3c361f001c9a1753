"""What a check found, and one page of it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

Level = Literal["ok", "note", "warning", "fault"]
LEVELS: tuple[Level, ...] = ("ok", "note", "warning", "fault")
"""From good to bad. A fault is certain to end a run or to spoil it; a warning may."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that a check has to say.

    Attributes:
        check: Name of the check, e.g. ``disk``.
        level: How bad it is.
        what: What was found, with the figures that matter.
        fix: What to do about it; empty if nothing is to be done.
        figures: What was measured or estimated, by name with its unit, e.g. ``{"free_bytes": 3}``.
    """

    check: str
    level: Level
    what: str
    fix: str = ""
    figures: Mapping[str, Any] = field(default_factory=dict)


def faults(findings: Sequence[Finding]) -> list[Finding]:
    """Those that are faults."""
    return [finding for finding in findings if finding.level == "fault"]


def in_order(findings: Sequence[Finding]) -> list[Finding]:
    """The worst first; those of one level as they were found."""
    return sorted(findings, key=lambda finding: -LEVELS.index(finding.level))


def size(count: float) -> str:
    """A number of bytes for people, e.g. ``1.5 GiB``."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"


def write_page(folder: Path, findings: Sequence[Finding], command: str) -> None:
    """Writes ``findings.md`` for people and ``findings.json`` for programs.

    Args:
        folder: Where; made if it is missing.
        findings: What was found.
        command: The command that found it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    record = {"command": command, "findings": [asdict(finding) for finding in findings]}
    (folder / "findings.json").write_text(json.dumps(record, indent=2, default=str) + "\n", encoding="utf-8")
    (folder / "findings.md").write_text(page(findings, command), encoding="utf-8")


def page(findings: Sequence[Finding], command: str) -> str:
    """The findings as Markdown, the worst first."""
    counts = ", ".join(f"{sum(f.level == level for f in findings)} {level}" for level in reversed(LEVELS))
    rows = [f"| {f.level} | {f.check} | {_cell(f.what)} | {_cell(f.fix)} |" for f in in_order(findings)]
    head = ["# Findings", "", f"`{command}`: {counts}.", "", "| level | check | what | fix |", "|---|---|---|---|"]
    return "\n".join([*head, *rows]) + "\n"


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())
