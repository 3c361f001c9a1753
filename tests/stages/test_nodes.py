"""What a stage changes in the options of its roles, and what that makes anew."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from specs_lab.data.constructions.self_distill import SelfDistill
from specs_lab.evaluation.judges.none import NoJudge
from specs_lab.models.sources.embedded import FolderModel
from specs_lab.objectives.grpo import GRPOOptions
from specs_lab.problems.sources.procedural import ProceduralProblems
from specs_lab.problems.tasks import Cell
from specs_lab.rewards.terms.accuracy import AccuracyTerm
from specs_lab.rewards.terms.weighted import WeightedReward
from specs_lab.stages.context import Study
from specs_lab.stages.faults import find_faults
from specs_lab.stages.graph import plan
from specs_lab.stages.kinds import KINDS
from specs_lab.stages.nodes import needed_inputs, options_of, used_inputs
from specs_lab.stages.options.recipe import Loop, Paths, Recipe, StageSpec

TEST_KINDS = {name: replace(kind, code=("specs_lab.core.errors",)) for name, kind in KINDS.items()}
RL = KINDS["rl"]


@pytest.fixture
def study(fake_checkpoint: Path) -> Study:
    return Study(
        recipe=Recipe(
            stages={
                "base": StageSpec(kind="base"),
                "first": StageSpec(kind="rl", inputs={"model": "base"}),
                "final": StageSpec(kind="rl", inputs={"model": "first"}),
            }
        ),
        paths=Paths(cache="unused"),
        rl=GRPOOptions(steps=5),
        reward=WeightedReward(terms={"accuracy": AccuracyTerm()}),
        judge=NoJudge(),
        model=FolderModel(path=str(fake_checkpoint)),
        problems=ProceduralProblems(families=["count"], instructions=["tags"], styles=["plain"], cells={"id": Cell()}),
    )


def _change(study: Study, **changes: Mapping[str, Any]) -> Study:
    study.recipe.stages["final"].changes = {role: dict(fields) for role, fields in changes.items()}
    return study


def _keys(study: Study) -> dict[str, str]:
    return {stage.name: stage.key for stage in plan(study, TEST_KINDS)}


def _faults(study: Study) -> list[tuple[str, str]]:
    return [(fault.where, fault.what) for fault in find_faults(study, TEST_KINDS)]


def test_a_change_holds_for_its_stage_only(study: Study) -> None:
    _change(study, rl={"steps": 7, "mixture": ["id", "id"], "lr": 1})
    made = {stage.name: stage.options["rl"] for stage in plan(study, TEST_KINDS) if stage.kind == "rl"}
    assert made["first"] is study.rl
    assert made["final"] == GRPOOptions(steps=7, mixture=["id", "id"], lr=1)
    assert study.rl == GRPOOptions(steps=5)


def test_a_change_makes_its_stage_anew_and_nothing_before_it(study: Study) -> None:
    before = _keys(study)
    after = _keys(_change(study, rl={"steps": 7}))
    assert {name for name in before if before[name] != after[name]} == {"final"}


def test_a_change_to_what_is_the_case_changes_nothing(study: Study) -> None:
    before = _keys(study)
    assert _keys(_change(study, rl={"steps": 5}, reward={})) == before


def test_a_stage_that_is_changed_is_what_it_would_be_under_such_options(study: Study) -> None:
    changed = _keys(_change(study, rl={"lr": 1e-3}))
    study.extra["other"] = replace(study.rl, lr=1e-3)
    study.recipe.stages["final"] = StageSpec(kind="rl", inputs={"model": "first"}, options={"rl": "other"})
    assert _keys(study) == changed


def test_the_role_is_changed_whatever_plays_it(study: Study) -> None:
    study.extra["other"] = GRPOOptions(steps=9)
    study.recipe.stages["final"].options = {"rl": "other"}
    _change(study, rl={"lr": 1e-3})
    assert options_of(study, study.recipe.stages["final"], RL)["rl"] == GRPOOptions(steps=9, lr=1e-3)


@pytest.mark.parametrize(
    ("changes", "where", "what"),
    [
        ({"rl": {"stepps": 7}}, "rl.stepps", "there is no such option"),
        ({"rl": {"steps": "7"}}, "rl.steps", "'7' is of another type than 5"),
        ({"rl": {"steps": 7.0}}, "rl.steps", "7.0 is of another type than 5"),
        ({"rl": {"steps": True}}, "rl.steps", "True is of another type than 5"),
        ({"rl": {"lr": True}}, "rl.lr", "True is of another type than"),
        ({"rl": {"mixture": "id"}}, "rl.mixture", "'id' is of another type than ['id']"),
        ({"rl": {"mixture": ["id", 1]}}, "rl.mixture", "['id', 1] is of another type than ['id']"),
        ({"rl": {"buckets": [1]}}, "rl.buckets", "[1] is of another type than []"),
        ({"reward": {"terms": {"accuracy": 1}}}, "reward.terms", "{'accuracy': 1} is of another type than"),
        ({"reward": {"terms": ["accuracy"]}}, "reward.terms", "['accuracy'] is of another type than"),
        ({"rl": {"track_entropy": 1}}, "rl.track_entropy", "1 is of another type than False"),
        ({"rl": {"steps": None}}, "rl.steps", "None is of another type than 5"),
        ({"rl": {"steps": 0}}, "rl.steps", "0 is less than 1"),
        ({"rl": {"group_size": 1, "lr": 1e-3}}, "rl.group_size", "1 is less than 2"),
        ({"suite": {"n": 1}}, "suite", "a stage of kind 'rl' reads no options 'suite'"),
    ],
)
def test_a_change_that_cannot_be_made_is_a_fault(study: Study, changes: dict[str, Any], where: str, what: str) -> None:
    ((place, said),) = _faults(_change(study, **changes))
    assert place == f"recipe.stages.final.changes.{where}"
    assert said.startswith(what)


def test_all_that_is_wrong_with_changes_is_found_together(study: Study) -> None:
    _change(study, rl={"stepps": 1, "lr": "fast"}, suite={})
    start = "recipe.stages.final.changes"
    assert {where for where, _ in _faults(study)} == {f"{start}.rl.stepps", f"{start}.rl.lr", f"{start}.suite"}
    _change(study, rl={"steps": 0, "group_size": 0})
    assert {where for where, _ in _faults(study)} == {f"{start}.rl.steps", f"{start}.rl.group_size"}


def test_a_misspelt_option_is_answered_by_the_nearest_one(study: Study) -> None:
    (fault,) = find_faults(_change(study, rl={"stepps": 1}), TEST_KINDS)
    assert "did you mean 'steps'" in fault.fix


def test_a_change_in_a_loop_is_one_fault_under_the_name_in_the_recipe(study: Study) -> None:
    study.recipe.loops["round"] = Loop(stages=["final"], rounds=3)
    ((where, _),) = _faults(_change(study, rl={"stepps": 1}))
    assert where == "recipe.stages.final.changes.rl.stepps"


def test_a_change_may_not_name_cells_that_there_are_not(study: Study) -> None:
    ((where, what),) = _faults(_change(study, rl={"mixture": ["id", "odd"]}))
    assert (where, what) == ("recipe.stages.final.changes.rl.mixture", "the problems have no cell 'odd'")


def test_what_must_be_named_is_what_is_read_and_not_optional() -> None:
    assert needed_inputs(RL, {}) == {"model"}
    assert set(used_inputs(RL, {})) == {"model", "tasks"}
    construct = KINDS["construct"]
    assert needed_inputs(construct, {"data": SelfDistill()}) == {"self", "base"}
    assert needed_inputs(construct, None) == set()  # what is read depends on options that are not known
    assert needed_inputs(RL, None) == {"model"}
