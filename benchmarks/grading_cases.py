"""The case file of the grader, ``tests/rewards/cases/*.jsonl``: one prediction a line, with the verdict it must get."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parents[1] / "tests" / "rewards" / "cases"


@dataclass(frozen=True)
class Case:
    """One prediction and what a careful reader says of it.

    Attributes:
        type: The file it stands in: a kind of answer, ``extraction`` or ``hacks``.
        line: Its line there, from 1.
        prediction: A whole response or a bare answer; None for no response at all.
        gold: The right answer.
        kind: The kind of answer that is declared; None leaves it to be inferred.
        correct: The verdict.
        why: What the case is about.
        choices: Texts of the options, the first one is A.
        precision: Decimals, the least IoU, or the largest distance, depending on the kind.
        unit: The declared unit.
    """

    type: str
    line: int
    prediction: str | None
    gold: str
    kind: str | None
    correct: bool
    why: str
    choices: tuple[str, ...] | None = None
    precision: float | None = None
    unit: str | None = None

    @property
    def options(self) -> dict[str, Any]:
        """Keyword arguments of ``grade`` that the case declares, apart from its kind."""
        declared = {"choices": self.choices, "precision": self.precision, "unit": self.unit}
        return {name: value for name, value in declared.items() if value is not None}

    @property
    def name(self) -> str:
        """Where it stands."""
        return f"{self.type}.jsonl:{self.line}"

    def __str__(self) -> str:
        said = self.prediction if self.prediction is None or len(self.prediction) < 200 else self.prediction[:200] + "…"
        declared = {"kind": self.kind, **self.options}
        return f"{self.name}: {said!r} for {self.gold!r} {declared}, {self.why}"


def read(path: Path) -> list[Case]:
    """The cases of one file.

    Raises:
        ValueError: If a line is not valid JSON.
        TypeError: If a case lacks a field, or has one that there is not.
    """
    lines = path.read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    for row in rows:
        if row.get("choices") is not None:
            row["choices"] = tuple(row["choices"])
    return [Case(type=path.stem, line=line, **row) for line, row in enumerate(rows, start=1)]


def types(folder: Path = FOLDER) -> list[str]:
    """Names of the files, sorted."""
    return sorted(path.stem for path in folder.glob("*.jsonl"))


def load_cases(chosen: Sequence[str] | None = None, folder: Path = FOLDER) -> list[Case]:
    """The cases of the chosen types; of all of them, if none are named."""
    return [case for name in (types(folder) if chosen is None else chosen) for case in read(folder / f"{name}.jsonl")]
