"""Gold answers are checked before a stage trains or measures; tasks become what is asked."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

from specs_lab.core.errors import UserError
from specs_lab.core.progress import Progress
from specs_lab.evaluation.judges.none import NoJudge
from specs_lab.evaluation.judges.overlap import OverlapJudge
from specs_lab.problems.instructions import INSTRUCTIONS
from specs_lab.problems.scoring import asked, assessor, rewarder
from specs_lab.problems.tasks import Task
from specs_lab.rewards.scoring import Response
from specs_lab.rewards.terms.accuracy import AccuracyTerm
from specs_lab.rewards.terms.weighted import WeightedReward
from specs_lab.stages.scoring import judge_of, require_golds


@pytest.fixture
def tasks(toy_problems):
    return [Task(f"task {p.id}", "id", p, INSTRUCTIONS["tags"]) for p in toy_problems]


def _with(task: Task, **changes) -> Task:
    return replace(task, problem=replace(task.problem, **changes))


def _context(**options) -> SimpleNamespace:
    return SimpleNamespace(name="zero", progress=Progress(), options=options)


def test_unusable_gold_answers_stop_a_stage_and_are_named(tasks):
    broken = [_with(tasks[0], answer="seven or eight", answer_type="integer"), *tasks[1:]]
    with pytest.raises(UserError) as error:
        require_golds(_context(judge=NoJudge()), iter(broken), len(broken))  # pyright: ignore[reportArgumentType]
    assert [fault.where for fault in error.value.faults] == [f"stage zero: gold answer of {tasks[0].id}"]


def test_sound_gold_answers_do_not_and_progress_is_reported(tasks):
    seen = []
    context = _context(judge=NoJudge())
    context.progress = Progress(seen.append)
    require_golds(context, iter(tasks), len(tasks))  # pyright: ignore[reportArgumentType]
    assert seen


def test_all_that_a_problem_says_of_its_answer_is_asked(tasks):
    task = _with(tasks[0], answer="2.5", answer_type="number", precision=1.0, unit="cm", choices=("a", "b"))
    found = asked(task)
    assert (found.id, found.gold, found.kind, found.precision, found.unit) == (task.id, "2.5", "number", 1.0, "cm")
    assert (found.choices, found.format, found.question) == (("a", "b"), "think_answer", task.problem.question)


def test_options_and_units_of_the_problem_count(tasks):
    measured = _with(tasks[0], answer="5", answer_type="number", unit="cm")
    lettered = _with(tasks[0], answer="B", answer_type="choice", choices=("left", "right"))
    texts = ["50 mm", "5 kg", "right", "left"]
    scores = assessor()(texts, [measured, measured, lettered, lettered])
    assert [score.accuracy for score in scores] == [True, False, True, False]
    reward = rewarder(WeightedReward(terms={"accuracy": AccuracyTerm(weight=2.0)}))
    earned = reward([Response(text) for text in texts], [measured, measured, lettered, lettered], 0.0)
    assert [score.reward for score in earned] == [2.0, 0.0, 2.0, 0.0]


def test_an_open_answer_goes_to_the_configured_judge(tasks):
    task = _with(tasks[0], answer="a red circle and a blue square", answer_type="open")
    judge = judge_of(_context(judge=OverlapJudge()))  # pyright: ignore[reportArgumentType]
    assert [s.accuracy for s in assessor(judge)(["blue square, red circle", "nothing"], [task] * 2)] == [True, False]
    assert judge_of(_context(judge=NoJudge())) is None  # pyright: ignore[reportArgumentType]
    with pytest.raises(UserError, match="judge"):
        assessor(None)(["blue square"], [task])


def test_open_answers_without_a_judge_are_found_before_work_begins(tasks):
    task = _with(tasks[0], answer="a red circle and a blue square", answer_type="open")
    require_golds(_context(judge=OverlapJudge()), iter([task]), 1)  # pyright: ignore[reportArgumentType]
    with pytest.raises(UserError, match="1 gold answers of stage zero are open"):
        require_golds(_context(judge=NoJudge()), iter([task]), 1)  # pyright: ignore[reportArgumentType]
