"""Gold answers are checked before anything is trained on them."""

import pytest

from specs_lab.rewards.golds import check_golds, gold_faults
from specs_lab.rewards.scoring import Asked


def asked(id: str, gold: str, kind: str | None = None, **more) -> Asked:
    return Asked(id, gold, "think_answer", kind, **more)


SOUND = [
    asked("a", "7", "integer"),
    asked("b", "red", "word"),
    asked("c", "B"),
    asked("d", "\\frac{1}{2}"),
    asked("e", "x^2+1"),
    asked("f", "5", "choice", choices=("4", "5")),
    asked("g", "anything at all", "open"),
]


def test_sound_answers_are_counted_by_type():
    report = check_golds(SOUND)
    assert report.faults == []
    assert report.checked == len(SOUND)
    assert report.kinds == {"integer": 1, "word": 1, "choice": 2, "fraction": 1, "expression": 1, "open": 1}
    assert {kind for kind, count in report.inferred.items() if count} == {"choice", "fraction", "expression"}
    assert report.inferred["choice"] == 1


@pytest.mark.parametrize(
    "broken",
    [
        asked("x", "7.5", "integer"),
        asked("x", "", "word"),
        asked("x", "red", "choice"),
        asked("x", "E", "choice", choices=("1", "2", "3", "4")),
        asked("x", "5 kg", "number", unit="cm"),
        asked("x", "maybe", "boolean"),
        asked("x", "the area of the circle", "expression"),
        asked("x", "9^{9^{9^{9}}}", "expression"),
        asked("x", "[10, 10, 5, 5]", "box"),
        asked("x", "7", "no such type"),
        asked("x", "7", "number", precision=-1.0),
        asked("x", "7", "number", precision=0.01),
        asked("x", "[1, 1, 5, 5]", "box", precision=0.0),
        asked("x", "red\u200bcircle", "word"),
    ],
)
def test_an_answer_that_cannot_be_used_is_named(broken: Asked):
    report = check_golds([*SOUND, broken])
    assert [fault.id for fault in report.faults] == ["x"]
    assert report.checked == len(SOUND) + 1


def test_every_unusable_answer_is_found_and_a_user_sees_the_first_and_how_many_more():
    seen = []
    report = check_golds(
        (asked(f"task {i}", "seven point five" if i % 3 else "7", "integer") for i in range(600)), seen.append
    )
    assert len(report.faults) == 400
    assert sum(seen) == 600
    faults = gold_faults(report, "stage zero", named=5)
    assert [fault.where for fault in faults[:2]] == [
        "stage zero: gold answer of task 1",
        "stage zero: gold answer of task 2",
    ]
    assert len(faults) == 6
    assert "395 more" in faults[-1].what


def test_no_faults_no_complaints():
    assert gold_faults(check_golds(SOUND), "stage zero") == []
