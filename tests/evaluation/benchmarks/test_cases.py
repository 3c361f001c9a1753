"""Hand-written responses: what a public scorer's rule says of each, what ours says, and why they differ."""

import json
import re
from pathlib import Path

import pytest

from specs_lab.evaluation.benchmarks.base import BENCHMARKS

CASES = Path(__file__).parent / "cases"
PAGE = Path(__file__).parents[3] / "docs" / "benchmarks.md"
NAMES = ("mathvista", "mathverse", "mathvision", "we_math")


def cases(name):
    return [json.loads(line) for line in (CASES / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("name", NAMES)
def test_responses_are_judged_as_the_cases_say(name, benchmark_rows):
    benchmark = BENCHMARKS.get(name)()
    make = benchmark_rows[name]
    found = []
    for case in cases(name):
        row = make("1", "2steps_1", **case["row"]) if name == "we_math" else make(1, **case["row"])
        verdict = benchmark.score(benchmark.read(row), case["response"], None)
        found.append((case["response"], case["row"], verdict.correct))
    assert found == [(case["response"], case["row"], case["ours"]) for case in cases(name)]


@pytest.mark.parametrize("name", NAMES)
def test_there_are_enough_cases_and_both_outcomes(name):
    some = cases(name)
    assert len(some) >= 25
    assert len({(json.dumps(case["row"]), case["response"]) for case in some}) == len(some)
    for who in ("public", "ours"):
        assert min(sum(case[who] for case in some), sum(not case[who] for case in some)) >= 8
    for case in some:
        assert (case["public"] != case["ours"]) == ("difference" in case), case


@pytest.mark.parametrize("name", NAMES)
def test_the_documented_differences_are_exactly_those_of_the_cases(name):
    text = PAGE.read_text(encoding="utf-8")
    section = re.search(rf"^### `{name}`$(.*?)(?=^#|\Z)", text, re.MULTILINE | re.DOTALL)
    assert section is not None
    documented = re.findall(r"^\| `(\w+)` \| (stricter|more lenient) \|", section[1], re.MULTILINE)
    found = {
        (case["difference"], "more lenient" if case["ours"] else "stricter")
        for case in cases(name)[:]
        if "difference" in case
    }
    assert sorted(documented) == sorted(found)
