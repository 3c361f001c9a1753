"""Loops of a recipe: which stages the rounds have, what each reads, and what is refused."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from specs_lab.data.constructions.rejection_sampling import RejectionSampling
from specs_lab.evaluation.judges.none import NoJudge
from specs_lab.evaluation.suites.cells import CellsSuite
from specs_lab.models.sources.embedded import FolderModel
from specs_lab.objectives.grpo import GRPOOptions
from specs_lab.objectives.sft import SFTOptions
from specs_lab.problems.sources.procedural import ProceduralProblems
from specs_lab.problems.tasks import Cell
from specs_lab.rewards.terms.accuracy import AccuracyTerm
from specs_lab.rewards.terms.weighted import WeightedReward
from specs_lab.stages.context import Study
from specs_lab.stages.faults import find_faults
from specs_lab.stages.graph import plan
from specs_lab.stages.kinds import KINDS
from specs_lab.stages.options.recipe import Loop, Paths, Recipe, StageSpec
from specs_lab.stages.rounds import loop_faults, origins, unrolled

TEST_KINDS = {name: replace(kind, code=("specs_lab.core.errors",)) for name, kind in KINDS.items()}


def _recipe(rounds: int = 3) -> Recipe:
    """The shape of OpenVLThinker: each round's data come from the round before, each cold start from the base model."""
    return Recipe(
        loops={"round": Loop(stages=["pairs", "cold", "final"], rounds=rounds)},
        stages={
            "base": StageSpec(kind="base"),
            "pairs": StageSpec(kind="construct", inputs={"self": "final.previous"}, first={"self": "base"}),
            "cold": StageSpec(kind="coldstart", inputs={"model": "base", "data": "pairs"}),
            "final": StageSpec(kind="rl", inputs={"model": "cold"}),
            "evaluate_final": StageSpec(kind="evaluate", inputs={"model": "final"}),
        },
    )


@pytest.fixture
def study(fake_checkpoint: Path) -> Study:
    return Study(
        recipe=_recipe(),
        paths=Paths(cache="unused"),
        coldstart=SFTOptions(),
        data=RejectionSampling(),
        rl=GRPOOptions(steps=5),
        reward=WeightedReward(terms={"accuracy": AccuracyTerm()}),
        judge=NoJudge(),
        model=FolderModel(path=str(fake_checkpoint)),
        problems=ProceduralProblems(
            families=["count"], instructions=["tags"], styles=["plain"], cells={"id": Cell(), "ood": Cell()}
        ),
        suite=CellsSuite(cells=["id", "ood"]),
    )


def _keys(study: Study) -> dict[str, str]:
    return {stage.name: stage.key for stage in plan(study, TEST_KINDS)}


# --- unrolling ---


def test_each_round_has_stages_of_its_own_and_the_last_keeps_the_names() -> None:
    assert {name: spec.inputs for name, spec in unrolled(_recipe()).items()} == {
        "base": {},
        "pairs_1": {"self": "base"},
        "cold_1": {"model": "base", "data": "pairs_1"},
        "final_1": {"model": "cold_1"},
        "pairs_2": {"self": "final_1"},
        "cold_2": {"model": "base", "data": "pairs_2"},
        "final_2": {"model": "cold_2"},
        "pairs": {"self": "final_2"},
        "cold": {"model": "base", "data": "pairs"},
        "final": {"model": "cold"},
        "evaluate_final": {"model": "final"},
    }


def test_one_round_is_the_recipe_without_the_loop() -> None:
    recipe = _recipe(rounds=1)
    plain = dict(recipe.stages) | {"pairs": StageSpec(kind="construct", inputs={"self": "base"})}
    assert unrolled(recipe) == plain == unrolled(Recipe(stages=plain))


def test_what_is_unrolled_has_nothing_of_loops_left() -> None:
    recipe = _recipe()
    recipe.stages["final"].by_round = {"rl": {"steps": [1, 2, 3]}}
    assert not list(loop_faults(Recipe(stages=unrolled(recipe))))


def test_stages_are_known_by_what_the_recipe_calls_them() -> None:
    known = origins(_recipe())
    assert set(known) == set(unrolled(_recipe()))
    assert [known[name] for name in ("base", "pairs_1", "pairs_2", "pairs", "evaluate_final")] == [
        "base",
        "pairs",
        "pairs",
        "pairs",
        "evaluate_final",
    ]


def test_the_first_round_reads_other_inputs_and_the_same_others() -> None:
    recipe = _recipe()
    recipe.stages["pairs"].inputs["base"] = "base"
    stages = unrolled(recipe)
    assert stages["pairs_1"].inputs == {"self": "base", "base": "base"}
    assert stages["pairs_2"].inputs == {"self": "final_1", "base": "base"}


def test_inputs_of_the_first_round_may_be_stages_of_the_same_round() -> None:
    recipe = _recipe()
    recipe.stages["cold"] = StageSpec(
        kind="coldstart", inputs={"model": "base", "data": "pairs.previous"}, first={"data": "pairs"}
    )
    stages = unrolled(recipe)
    assert [stages[name].inputs["data"] for name in ("cold_1", "cold_2", "cold")] == ["pairs_1", "pairs_1", "pairs_2"]


def test_a_stage_may_go_on_from_itself() -> None:
    recipe = Recipe(
        loops={"round": Loop(stages=["final"], rounds=3)},
        stages={
            "base": StageSpec(kind="base"),
            "final": StageSpec(kind="rl", inputs={"model": "final.previous"}, first={"model": "base"}),
        },
    )
    made = unrolled(recipe)
    assert [made[name].inputs["model"] for name in ("final_1", "final_2", "final")] == ["base", "final_1", "final_2"]


def test_loops_have_rounds_of_their_own_and_read_the_last_of_each_other() -> None:
    recipe = _recipe(rounds=2)
    recipe.stages["after"] = StageSpec(kind="rl", inputs={"model": "after.previous"}, first={"model": "final"})
    recipe.loops["more"] = Loop(stages=["after"], rounds=3)
    stages = unrolled(recipe)
    assert [stages[name].inputs["model"] for name in ("after_1", "after_2", "after")] == ["final", "after_1", "after_2"]


def test_changes_of_a_round_come_on_top_and_the_last_holds_for_all_further_ones() -> None:
    recipe = _recipe(rounds=4)
    recipe.stages["final"].changes = {"rl": {"steps": 1, "lr": 0.1}}
    recipe.stages["final"].by_round = {
        "rl": {"steps": [5, 6], "buckets": [["easy"], ["medium", "hard"]]},
        "reward": {"weight": [1.0]},
    }
    stages = unrolled(recipe)
    assert [stages[name].changes["rl"] for name in ("final_1", "final_2", "final_3", "final")] == [
        {"steps": 5, "lr": 0.1, "buckets": ["easy"]},
        *[{"steps": 6, "lr": 0.1, "buckets": ["medium", "hard"]}] * 3,
    ]
    assert {spec.changes["reward"]["weight"] for name, spec in stages.items() if name.startswith("final")} == {1.0}
    assert recipe.stages["final"].changes == {"rl": {"steps": 1, "lr": 0.1}}


def test_values_beyond_the_last_round_are_not_used() -> None:
    recipe = _recipe(rounds=2)
    recipe.stages["final"].by_round = {"rl": {"steps": [1, 2, 3]}}
    stages = unrolled(recipe)
    assert [stages[name].changes["rl"]["steps"] for name in ("final_1", "final")] == [1, 2]


# --- streams and keys ---


def test_rounds_have_random_numbers_of_their_own_and_the_first_those_without_a_loop() -> None:
    recipe = _recipe()
    recipe.stages["final"].stream = "second"
    streams = {name: spec.stream for name, spec in unrolled(recipe).items()}
    assert streams["pairs_1"] == ""
    assert streams["final_1"] == "second"
    assert streams["base"] == streams["evaluate_final"] == ""
    assert len({streams[name] for name in ("pairs_1", "pairs_2", "pairs")}) == 3
    assert len({streams[name] for name in ("final_1", "final_2", "final")}) == 3


def test_a_round_has_the_key_that_it_has_in_a_shorter_loop_or_without_one(study: Study) -> None:
    three = _keys(study)
    study.recipe = _recipe(rounds=2)
    two = _keys(study)
    study.recipe = _recipe(rounds=1)
    one = _keys(study)
    stages = ("pairs", "cold", "final")
    assert [one[name] for name in stages] == [two[f"{name}_1"] for name in stages]
    assert [one[name] for name in stages] == [three[f"{name}_1"] for name in stages]
    assert [two[name] for name in stages] == [three[f"{name}_2"] for name in stages]
    assert len(set(three.values())) == len(three)
    study.recipe.loops.clear()
    study.recipe.stages["pairs"] = StageSpec(kind="construct", inputs={"self": "base"})
    assert _keys(study) == one


def test_models_of_a_loop_are_measured_as_those_of_other_recipes(study: Study) -> None:
    """Evaluations draw no random numbers of the study, so a round's is that of the model wherever it comes from."""
    study.recipe.stages["evaluate_cold"] = StageSpec(kind="evaluate", inputs={"model": "cold"})
    outside = _keys(study)["evaluate_cold"]
    study.recipe.loops["round"].stages.append("evaluate_cold")
    inside = _keys(study)
    assert inside["evaluate_cold"] == outside
    assert {"evaluate_cold_1", "evaluate_cold_2"} <= set(inside)


def test_a_round_that_is_changed_makes_anew_what_follows_only(study: Study) -> None:
    before = _keys(study)
    study.recipe.stages["final"].by_round = {"rl": {"steps": [5, 9]}}
    after = _keys(study)
    unchanged = {name for name in before if before[name] == after[name]}
    assert unchanged == {"base", "pairs_1", "cold_1", "final_1", "pairs_2", "cold_2"}


# --- faults ---


Change = Callable[[Recipe], Any]


def _set(stage: str, **changes: Any) -> Change:
    return lambda recipe: recipe.stages.update({stage: replace(recipe.stages[stage], **changes)})


FAULTY: dict[str, tuple[Change, str, str]] = {
    "no round": (lambda r: setattr(r.loops["round"], "rounds", 0), "loops.round.rounds", "0 is less than 1"),
    "no stage": (
        lambda r: r.loops.update(empty=Loop(stages=[])),
        "loops.empty.stages",
        "no stage is named",
    ),
    "unknown stage": (
        lambda r: r.loops["round"].stages.append("finale"),
        "loops.round.stages",
        "there is no stage 'finale'",
    ),
    "in two loops": (
        lambda r: r.loops.update(more=Loop(stages=["evaluate_final", "final"])),
        "loops.more.stages",
        "'final' is in loop 'round' too",
    ),
    "twice in one": (
        lambda r: r.loops["round"].stages.append("cold"),
        "loops.round.stages",
        "'cold' is in loop 'round' too",
    ),
    "a name that a round would have": (
        lambda r: r.stages.update(cold_2=StageSpec(kind="base")),
        "loops.round.stages",
        "there is a stage 'cold_2'",
    ),
    "`first` outside of a loop": (_set("base", first={"model": "x"}), "stages.base.first", "in no loop"),
    "`by_round` outside of a loop": (
        _set("base", by_round={"model": {"path": ["x"]}}),
        "stages.base.by_round",
        "in no loop",
    ),
    "no value for rounds": (
        _set("final", by_round={"rl": {"steps": []}}),
        "stages.final.by_round.rl.steps",
        "there is no value",
    ),
    "the round before, outside of a loop": (
        _set("evaluate_final", inputs={"model": "final.previous"}),
        "stages.evaluate_final.inputs.model",
        "'final' and 'evaluate_final' are not in the same loop",
    ),
    "the round before of what has none": (
        _set("final", inputs={"model": "base.previous"}, first={"model": "cold"}),
        "stages.final.inputs.model",
        "'base' and 'final' are not in the same loop",
    ),
    "the round before of nothing": (
        _set("final", inputs={"model": "culd.previous"}, first={"model": "cold"}),
        "stages.final.inputs.model",
        "'culd' and 'final' are not in the same loop",
    ),
    "no first round": (
        _set("pairs", inputs={"self": "final.previous"}, first={}),
        "stages.pairs.inputs.self",
        "no round before the first",
    ),
    "a round before the first": (
        _set("pairs", first={"self": "final.previous"}),
        "stages.pairs.first.self",
        "no round before the first",
    ),
}


@pytest.mark.parametrize(("change", "where", "what"), FAULTY.values(), ids=FAULTY)
def test_a_fault_is_found_once_and_names_its_place(study: Study, change: Change, where: str, what: str) -> None:
    change(study.recipe)
    (fault,) = find_faults(study, TEST_KINDS)
    assert fault.where == f"recipe.{where}"
    assert what in fault.what
    assert fault.fix


def test_a_loop_without_faults_has_none(study: Study) -> None:
    assert find_faults(study, TEST_KINDS) == []


@pytest.mark.parametrize(
    ("change", "where"),
    [
        (_set("final", kind="rll"), "recipe.stages.final.kind"),
        (_set("cold", inputs={"model": "bose", "data": "pairs"}), "recipe.stages.cold.inputs.model"),
        (_set("cold", options={"coldstart": "x"}), "recipe.stages.cold.options.coldstart"),
        (_set("final", by_round={"rl": {"stepps": [1, 2]}}), "recipe.stages.final.changes.rl.stepps"),
        (_set("pairs", first={"self": "base", "other": "base"}), "recipe.stages.pairs.inputs.other"),
    ],
)
def test_a_fault_of_every_round_is_one_under_the_name_in_the_recipe(study: Study, change: Change, where: str) -> None:
    change(study.recipe)
    assert [fault.where for fault in find_faults(study, TEST_KINDS)] == [where]


def test_stages_of_a_round_that_wait_for_each_other_are_a_fault(study: Study) -> None:
    study.recipe.stages["pairs"] = StageSpec(kind="construct", inputs={"self": "final"})
    assert any("wait for each other" in fault.what for fault in find_faults(study, TEST_KINDS))
