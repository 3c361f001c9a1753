from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest

from specs_lab.preflight.oracle import check_oracle, stated
from specs_lab.preflight.uses import Use, uses
from specs_lab.problems.instructions import INSTRUCTIONS
from specs_lab.problems.tasks import Task
from specs_lab.rewards.format import FORMATS, parse
from specs_lab.rewards.scoring import Score
from specs_lab.rewards.terms.accuracy import AccuracyTerm
from specs_lab.rewards.terms.consistency import ConsistencyTerm
from specs_lab.rewards.terms.format import FormatTerm
from specs_lab.rewards.terms.overlong import OverlongTerm
from specs_lab.rewards.terms.weighted import WeightedReward
from specs_lab.stages.context import Study


@pytest.fixture
def tasks(study: Callable[..., Study]) -> list[Task]:
    problems = study().problems
    return [problems.draw_mixed(["id", "ood"], "oracle", index) for index in range(12)]


def _use(reward: Any = None, suite: Any = None) -> Use:
    return Use("rl", 1, lambda: iter(()), 48, reward=reward, suite=suite)


def _reward(**terms: Any) -> WeightedReward:
    return WeightedReward(terms=terms)


def _all_with(tasks: Sequence[Task], **changes: Any) -> list[Task]:
    return [replace(task, problem=replace(task.problem, **changes)) for task in tasks]


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_what_an_oracle_says_follows_every_format(name: str):
    parts = parse(stated("42", name), name)
    assert parts is not None
    assert parts.answer == "42"


@pytest.mark.parametrize("instruction", sorted(INSTRUCTIONS))
def test_right_answers_earn_everything_under_every_wording(tasks: list[Task], instruction: str):
    asked = [replace(task, instruction=INSTRUCTIONS[instruction]) for task in tasks]
    reward = _reward(format=FormatTerm(), accuracy=AccuracyTerm(strict=True), long=OverlongTerm())
    finding = check_oracle(_use(reward), asked, None)
    assert (finding.level, finding.figures["checked"]) == ("ok", len(tasks))


def test_a_term_that_asks_a_model_is_no_obstacle(tasks: list[Task]):
    reward = _reward(accuracy=AccuracyTerm(), consistency=ConsistencyTerm())
    assert check_oracle(_use(reward), tasks, None).level == "ok"


def test_a_reward_that_nobody_can_get_is_a_fault(tasks: list[Task]):
    reward = _reward(format=FormatTerm(format="thinking_answer", weight=0.5), accuracy=AccuracyTerm())
    finding = check_oracle(_use(reward), tasks, None)
    assert finding.level == "fault"
    assert "100% of 12 tasks" in finding.what
    assert f"{tasks[0].id}: reward term 'format' pays 0 of 0.5" in finding.what


def test_a_gold_answer_that_no_response_can_match_is_named(tasks: list[Task]):
    odd, *others = tasks
    broken = replace(odd, problem=replace(odd.problem, answer="</answer>", answer_type="word"))
    finding = check_oracle(_use(), [broken, *others], None)
    assert finding.level == "fault"
    assert (finding.figures["unearned"], finding.figures["checked"]) == (1, len(tasks))
    assert odd.id in finding.what


def test_a_suite_that_takes_any_answer_is_a_fault(tasks: list[Task]):
    @dataclass
    class Generous:
        def graded(self, tasks: Sequence[Task]) -> list[Task]:
            return list(tasks)

        def score(self, texts: Sequence[str], tasks: Sequence[Task], judge: object) -> list[Score]:
            return [Score(True, True, 0.0, text) for text in texts]

    finding = check_oracle(_use(suite=Generous()), tasks, None)
    assert (finding.level, finding.figures["given_away"]) == ("fault", len(tasks))


def test_open_answers_are_left_to_the_judge(tasks: list[Task]):
    finding = check_oracle(_use(), _all_with(tasks, answer_type="open"), lambda items: [1.0] * len(items))
    assert (finding.level, finding.figures["checked"], finding.figures["skipped"]) == ("note", 0, len(tasks))


def test_uses_are_those_of_the_study(study: Callable[..., Study]):
    found = {use.name: use for use in uses(study(), 4)}
    assert list(found) == ["rl (id, ood)", "zero (id)", "data (id)", "suite"]
    assert all(len(list(use.draw())) == 4 for use in found.values())
    assert len({task.cell for task in found["suite"].draw()}) == 4  # not the first cell alone
