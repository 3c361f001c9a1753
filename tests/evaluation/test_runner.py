"""Evaluation: the same tasks for everybody, in splits of their own, averaged by cell."""

import pytest

from specs_lab.evaluation.runner import Evaluator, Sample, cell_means
from specs_lab.evaluation.suites.cells import CellsSuite
from specs_lab.problems.sources.procedural import ProceduralProblems
from specs_lab.problems.tasks import Cell
from specs_lab.rewards.scoring import Score


@pytest.fixture
def problems():
    return ProceduralProblems(
        families=["count", "digits"],
        ood_families=["clock"],
        instructions=["tags"],
        ood_instructions=["in_words", "template"],
        alternative_instructions=["alternative"],
        styles=["plain"],
        ood_styles=["newsprint"],
        cells={
            "id": Cell(),
            "ood": Cell(family="ood", instruction="ood"),
            "ood_style": Cell(style="ood"),
            "other_format": Cell(instruction="alternative"),
        },
    )


@pytest.fixture
def suite():
    return CellsSuite(cells=["id", "ood", "ood_style", "other_format"], n=4, max_new_tokens=6)


def test_tasks_lie_where_their_cell_says(problems, suite):
    tasks = suite.tasks(problems)
    assert [task.cell for task in tasks] == [cell for cell in suite.cells for _ in range(4)]
    for task in tasks:
        split = task.id.split("/")[1]
        assert split == ("id" if task.cell == "id" else "ood")
        assert (task.problem.family == "clock") == (task.cell == "ood")
        assert (task.problem.style == "newsprint") == (task.cell == "ood_style")
        assert (task.instruction.format == "steps_final") == (task.cell == "other_format")
        assert (task.instruction.name in ("in_words", "template")) == (task.cell == "ood")
    assert [task.id for task in suite.tasks(problems)] == [task.id for task in tasks]


def test_tasks_of_a_smaller_suite_are_the_first_of_a_larger_one(problems, suite):
    small = {task.id for task in CellsSuite(cells=suite.cells, n=2).tasks(problems)}
    assert small <= {task.id for task in suite.tasks(problems)}


def test_evaluation_is_reproducible_and_leaves_the_model_alone(problems, suite, toy_vlm):
    evaluator = Evaluator(suite, problems, batch_size=8)
    toy_vlm.model.train()
    one, two = evaluator(toy_vlm), evaluator(toy_vlm)
    assert [sample.response for sample in one] == [sample.response for sample in two]
    assert toy_vlm.model.training
    assert all(sample.truncated for sample in one if len(sample.response) > 40)


def test_cell_means_by_hand(problems, suite):
    tasks = CellsSuite(cells=["id", "ood"], n=2).tasks(problems)
    marks = [(True, True), (True, False), (False, True), (False, False)]
    samples = [Sample(t, "", Score(f, a, 0.0, None), f) for t, (f, a) in zip(tasks, marks, strict=True)]
    means = cell_means(samples)
    assert means["id", "format"] == (1.0, 2)
    assert means["id", "accuracy"] == (0.5, 2)
    assert means["id", "joint"] == (0.5, 2)
    assert means["ood", "format"] == (0.0, 2)
    assert means["ood", "accuracy"] == (0.5, 2)
    assert means["ood", "joint"] == (0.0, 2)
    assert means["id", "truncated"] == (1.0, 2)


def test_prompts_encoded_in_parts_or_anew_change_nothing(problems, suite, toy_vlm, monkeypatch):
    whole = Evaluator(suite, problems, batch_size=16)(toy_vlm)
    parts = Evaluator(suite, problems, batch_size=1)  # four prompts at a time
    assert [sample.response for sample in parts(toy_vlm)] == [sample.response for sample in whole]
    monkeypatch.setattr("specs_lab.evaluation.runner._MOST_KEPT", 0)
    anew, encoded = Evaluator(suite, problems, batch_size=16), []
    encode = toy_vlm.encode_prompts
    monkeypatch.setattr(toy_vlm, "encode_prompts", lambda *args: encoded.append(len(args[0])) or encode(*args))
    assert [[sample.response for sample in anew(toy_vlm)] for _ in range(2)] == [
        [sample.response for sample in whole]
    ] * 2
    assert encoded == [16, 16]


def test_answered_tasks_are_reported_as_they_come(problems, suite, toy_vlm):
    evaluator, told = Evaluator(suite, problems, batch_size=2), []
    evaluator(toy_vlm, told.append)
    assert len(told) > 1
    assert sum(told) == len(evaluator.tasks)
    assert evaluator.most_tokens == len(evaluator.tasks) * suite.max_new_tokens
