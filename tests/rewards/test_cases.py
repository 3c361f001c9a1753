"""The grader against verdicts that do not come of its code: ``cases/*.jsonl``, one file a kind of answer."""

from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest

from specs_lab.core.errors import UserError
from specs_lab.rewards.grader import grade

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted(path.stem for path in Path(__file__).with_name("cases").glob("*.jsonl"))
KINDS = {
    *("choice", "word", "list", "set", "integer", "number", "fraction", "ratio", "interval", "expression"),
    *("equation", "matrix", "boolean", "box", "point"),
}
NEVER_INFERRED = {"box", "point"}
FALSE_REJECTS = 0.01  # of all cases that are right


@pytest.fixture(scope="module")
def cases() -> Iterator[list]:
    """All cases. The loader belongs to the benchmarks, which are not installed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT)
        from benchmarks.grading_cases import load_cases

        yield load_cases()


@pytest.fixture(scope="module")
def outcomes(cases) -> Callable[[str], dict]:
    """Gives a file's cases with what the grader says of them, graded when first asked for."""

    @cache
    def of_file(file: str) -> dict:
        return {case: outcome(case) for case in cases if case.type == file}

    return of_file


def outcome(case) -> bool | str:
    """The verdict, or why there is none."""
    try:
        return grade(case.prediction, case.gold, case.kind, **case.options).correct
    except UserError as error:
        return str(error)


def wrong(cases) -> list:
    return [case for case in cases if not case.correct]


def test_there_are_enough_cases_and_most_are_wrong(cases):
    assert len(cases) >= 400
    assert len(wrong(cases)) >= 0.5 * len(cases)


@pytest.mark.parametrize("file", FILES)
def test_every_file_has_both_verdicts_and_enough_that_is_wrong(file, cases):
    own = [case for case in cases if case.type == file]
    assert 0.4 * len(own) <= len(wrong(own)) < len(own)


def test_no_case_stands_twice(cases):
    seen: dict = {}
    for case in cases:
        asked = (case.prediction, case.gold, case.kind, case.choices, case.precision, case.unit)
        assert asked not in seen, f"{case.name} repeats {seen[asked]}"
        seen[asked] = case.name


def test_every_kind_is_declared_and_every_kind_that_can_be_is_inferred(cases):
    assert {case.kind for case in cases} - {None} == KINDS
    assert set(FILES) == KINDS | {"extraction", "hacks"}
    inferred = {case.type for case in cases if case.kind is None}
    assert inferred >= KINDS - NEVER_INFERRED


def test_a_file_declares_its_own_kind_or_none(cases):
    for case in cases:
        assert case.kind in (None, case.type) or case.type in ("extraction", "hacks"), case


def test_fields_are_of_their_types(cases):
    for case in cases:
        assert case.prediction is None or isinstance(case.prediction, str), case
        assert isinstance(case.correct, bool), case
        assert all(isinstance(text, str) and text for text in (case.gold, case.why)), case
        assert case.choices is None or (len(case.choices) > 1 and all(isinstance(text, str) for text in case.choices))
        assert case.precision is None or (case.precision >= 0 and not isinstance(case.precision, bool)), case
        assert case.unit is None or (case.unit and isinstance(case.unit, str)), case


@pytest.mark.parametrize("file", FILES)
def test_no_gold_is_refused(file, outcomes):
    refused = [f"{case}: {said}" for case, said in outcomes(file).items() if isinstance(said, str)]
    assert not refused, "\n".join(refused)


@pytest.mark.parametrize("file", FILES)
def test_nothing_wrong_is_accepted(file, outcomes):
    accepted = [str(case) for case, said in outcomes(file).items() if said is True and not case.correct]
    assert not accepted, "false accepts:\n" + "\n".join(accepted)


def test_what_is_right_is_accepted(cases, outcomes):
    right = [case for case in cases if case.correct]
    rejected = [str(case) for case in right if outcomes(case.type)[case] is not True]
    assert len(rejected) <= FALSE_REJECTS * len(right), "false rejects:\n" + "\n".join(rejected)


def test_the_readme_says_how_many_cases_there_are(cases):
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    assert f"[{len(cases)} cases]" in readme
