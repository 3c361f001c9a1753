from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

from specs_lab.core.errors import Fault, UserError
from specs_lab.preflight.data import Golds, check_identities, check_rows, check_use
from specs_lab.preflight.uses import Use
from specs_lab.problems.tasks import Task
from specs_lab.stages.context import Study

COMMIT = "a" * 40


@dataclass
class Named:
    """An option of the hub."""

    revision: str = "main"
    repo: str = "owner/name"
    path: str = ""
    says: Any = field(default_factory=lambda: {"commit": COMMIT})

    def identity(self) -> Any:
        if isinstance(self.says, Exception):
            raise self.says
        return self.says


def _identities(node: Any) -> list[tuple[str, str]]:
    study = SimpleNamespace(nodes=lambda: {"problems": node})
    return [(finding.level, finding.fix) for finding in check_identities(study)]  # type: ignore[arg-type]


def test_a_branch_is_a_note_with_the_commit_to_pin():
    assert _identities(Named()) == [("note", f"set problems.revision={COMMIT}")]
    assert _identities(Named(revision=COMMIT)) == [("ok", "")]


def test_what_is_local_needs_no_commit():
    assert _identities(Named(path="here", says={"content": "1"})) == [("ok", "")]
    assert _identities(Named(says=None)) == []


def test_an_unknown_repository_is_a_fault():
    assert _identities(Named(says=UserError([Fault("owner/name", "is not there", "check it")]))) == [
        ("fault", "check it")
    ]


def _rows(broken: dict[str, int]) -> Any:
    counts = SimpleNamespace(rows=100, broken=Counter(broken), examples={})
    problems = SimpleNamespace(index=SimpleNamespace(counts=counts))
    return list(check_rows(SimpleNamespace(problems=problems, suite=None)))  # type: ignore[arg-type]


def test_broken_rows_are_told_by_reason():
    (few,) = _rows({"no_answer": 2, "too_long": 3})
    assert (few.level, few.what) == ("ok", "5 of 100 rows cannot be used: too_long 3.0%, no_answer 2.0%")
    (many,) = _rows({"no_answer": 40})
    assert many.level == "warning"
    assert many.figures["broken"] == {"no_answer": 40}


def test_data_that_count_nothing_are_silent(study: Callable[..., Study]):
    assert list(check_rows(study())) == []


def _checked(study: Study, tasks: list[Task]) -> Golds:
    golds = Golds()
    check_use(Use("rl", None, lambda: iter(tasks), 48), study, golds)
    return golds


def test_gold_answers_that_cannot_be_read_are_listed_and_left_out(study: Callable[..., Study]):
    chosen = study()
    tasks = [chosen.problems.draw_mixed(["id"], "data", index) for index in range(4)]
    bad = replace(tasks[0], problem=replace(tasks[0].problem, answer="several", answer_type="integer"))
    golds = _checked(chosen, [bad, *tasks[1:]])
    (finding,) = golds.findings
    assert finding.level == "fault"
    assert f"{bad.id}: " in finding.what
    assert golds.tasks["rl"] == tasks[1:]
    assert _checked(chosen, tasks).findings[0].level == "ok"


def test_open_answers_need_a_judge(study: Callable[..., Study]):
    chosen = study()
    task = chosen.problems.draw_mixed(["id"], "data", 0)
    opened = replace(task, problem=replace(task.problem, answer_type="open"))
    assert [finding.level for finding in _checked(chosen, [opened]).findings] == ["fault", "ok"]
    assert [finding.level for finding in _checked(study("judge=overlap"), [opened]).findings] == ["ok"]


def test_data_that_cannot_be_drawn_are_a_fault(study: Callable[..., Study]):
    def draw() -> Any:
        raise UserError([Fault("problems", "there are none", "choose others")])

    golds = Golds()
    check_use(Use("rl", None, draw, 48), study(), golds)
    assert [(f.level, f.what) for f in golds.findings] == [("fault", "problems: there are none")]
