"""Tables of the soak and of the fault matrix: ``python -m benchmarks.soak_tables`` renders the latter into the docs.

It replaces what stands between ``<!-- faults -->`` and ``<!-- /faults -->`` in ``docs/failures.md``.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "faults.json"
DOCS = ROOT / "docs" / "failures.md"
_LONGEST = 220
Json = dict[str, Any]


def _lines(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "\n".join("| " + " | ".join(row) + " |" for row in (header, ["---"] * len(header), *rows))


def soak_table(results: Json) -> str:
    """One row a stage: kills, what they left, and how many trials ended with the same bits."""
    header = ["stage", "seconds", "trials", "kills", "went on", "from the start", "was done", "the same"]
    rows = [
        [
            stage["name"],
            f"{stage['seconds']:.1f}",
            *(str(stage[name]) for name in ("trials", "kills", "went_on", "from_start", "was_done")),
            _share(stage["same"], stage["trials"]),
        ]
        for stage in results["stages"]
    ]
    kills = sum(stage["kills"] for stage in results["stages"])
    moments = ", ".join(f"{count} by {how}" for how, count in results["moments"].items())
    trials = sum(stage["trials"] for stage in results["stages"])
    same = _share(trials - len(results["failures"]), trials)
    how = "forked from a process that had imported everything" if results["settings"]["zygote"] else "new interpreters"
    head = f"{kills} kills ({moments}; seed {results['settings']['seed']}) of real processes, {how}, in "
    head += f"{results['seconds'] / 60:.0f} minutes. Trials without a fault: {same}."
    said = "; ".join(f"{one['case']}: {_text(one['faults'][0])}" for one in results["failures"])
    head += f" Faults: {said}." if said else ""
    return f"{head} {_machine(results)}\n\n{_lines(header, rows)}"


def faults_table(results: Json) -> str:
    """One row a fault and one column a stage: what was done again; what is not as it should be stands out."""
    cells = {(one["fault"], one["stage"]): one for one in results["cells"]}
    stages = list(dict.fromkeys(one["stage"] for one in results["cells"]))
    faults = list(dict.fromkeys(one["fault"] for one in results["cells"]))
    rows = [[fault, *(_short(cells.get((fault, stage))) for stage in stages)] for fault in faults]
    return f"{_summary(results)} {_machine(results)}\n\n{_lines(['fault', *stages], rows)}"


def long_table(results: Json) -> str:
    """One row a cell, with what was said."""
    header = ["fault", "stage", "exit code", "what it said", "repair", "done again", "bit-identical"]
    rows = [
        [
            one["fault"],
            one["stage"],
            str(one["code"]),
            _text(one["said"]),
            one["repair"],
            _again(one),
            "yes" if one["same"] else ("no, as asked" if not one["faults"] else "**no**"),
        ]
        for one in results["cells"]
        if one["again"] != "?"
    ]
    return f"{_summary(results)}\n\n{_lines(header, rows)}"


def _summary(results: Json) -> str:
    made = [one for one in results["cells"] if one["again"] != "?"]
    held = _share(sum(not one["faults"] for one in made), len(made))
    lost = sum(one["again"] == "nothing" for one in made)
    text = f"{held} cells end as they should; in {lost} nothing is done twice."
    return text if len(made) == len(results["cells"]) else f"{text} {len(results['cells']) - len(made)} not made here."


def _short(one: Json | None) -> str:
    if one is None:
        return ""
    if one["again"] == "?":
        return "not made"
    return _again(one)


def _again(one: Json) -> str:
    return f"**{_text('; '.join(one['faults']))}**" if one["faults"] else one["again"]


def _text(said: str) -> str:
    text = said.replace("|", "\\|").replace("<", "&lt;").replace("*", "\\*")
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]} ..."


def _share(part: int, whole: int) -> str:
    return f"{part} of {whole}" if part == whole else f"**{part} of {whole}**"


def _machine(results: Json) -> str:
    facts = results["machine"]
    versions = facts["versions"]
    packages = ", ".join(f"{name} {versions[name]}" for name in ("torch", "lightning") if versions.get(name))
    return " ".join(f"{facts['cpu']}; Python {facts['python']}, {packages}.".split())


def main(arguments: Sequence[str] | None = None) -> int:
    """Renders the matrix."""
    from benchmarks.tables import insert  # which imports this module

    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak_tables", description=__doc__)
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--docs", type=Path, default=DOCS)
    given = parser.parse_args(arguments)
    text = given.docs.read_text(encoding="utf-8")
    content = long_table(json.loads(given.results.read_text(encoding="utf-8")))
    given.docs.write_text(insert(text, "faults", content), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
