"""What the recipes that come along plan, as they stand and with other ingredients."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import specs_lab.conf

from specs_lab.cli.composition import Composer, composer
from specs_lab.cli.values import study_of
from specs_lab.stages.graph import PlannedStage, plan
from specs_lab.stages.kinds import KINDS

CONF = Path(str(specs_lab.conf.__file__)).parent
RECIPES = sorted(path.stem for path in CONF.glob("recipe/*.yaml"))
TEST_KINDS = {name: replace(kind, code=("specs_lab.core.errors",)) for name, kind in KINDS.items()}

Planned = Callable[..., dict[str, PlannedStage]]


@pytest.fixture(scope="module")
def known() -> Iterator[Composer]:
    with composer() as made:
        yield made


@pytest.fixture
def planned(known: Composer, fake_model: list[str]) -> Planned:
    """The stages of a study that some overrides describe, by name."""
    path = next(item.partition("=")[2] for item in fake_model if item.startswith("model.path="))
    models = [*fake_model, "model@teacher_model=folder", f"teacher_model.path={path}"]

    def of(*overrides: str) -> dict[str, PlannedStage]:
        return {stage.name: stage for stage in plan(study_of(known.compose([*models, *overrides])), TEST_KINDS)}

    return of


@pytest.mark.parametrize("recipe", [name for name in RECIPES if name != "pretrain"])
def test_a_recipe_measures_what_it_starts_from_and_what_it_makes(planned: Planned, recipe: str) -> None:
    """Or its cold start has a curve of its own."""
    stages = planned(f"recipe={recipe}")
    read = {source for stage in stages.values() for source in stage.inputs.values()}
    ends = {name: stage.kind for name, stage in stages.items() if name not in read}
    assert set(ends.values()) <= {"evaluate", "explore", "coldstart"}


@pytest.mark.parametrize("recipe", [name for name in RECIPES if name != "pretrain"])
def test_no_two_stages_of_a_recipe_are_the_same(planned: Planned, recipe: str) -> None:
    stages = planned(f"recipe={recipe}")
    assert len({stage.key for stage in stages.values()}) == len(stages)


def test_what_the_data_do_not_need_is_not_trained(planned: Planned) -> None:
    assert {"zero", "pairs", "cold"} <= set(planned("recipe=cold_only"))
    assert set(planned("recipe=cold_only", "data=base_distill")) == {"base", "pairs", "cold"}
    assert set(planned("recipe=cold_only", "data=teacher_distill")) == {"base", "pairs", "cold"}
    assert set(planned("recipe=cold_only", "data=teacher_distill_model")) == {"base", "teacher", "pairs", "cold"}
    assert "zero" in planned("recipe=specs", "data=base_distill")  # since it is measured
    assert set(planned("recipe=cold_only", "coldstart=none")) == {"base"}


def test_a_recipe_chooses_defaults_that_the_command_line_can_choose_anew(planned: Planned) -> None:
    own = planned("recipe=sft_then_rl")
    assert type(own["cold"].options["coldstart"]).__name__ == "SFTOptions"
    other = planned("recipe=sft_then_rl", "coldstart=dpo", "data=self_distill")
    assert type(other["cold"].options["coldstart"]).__name__ == "DPOOptions"
    assert other["final"].options["rl"] == own["final"].options["rl"]


def test_recipes_share_what_they_have_in_common(planned: Planned) -> None:
    specs, cold, zero = planned("recipe=specs"), planned("recipe=cold_only"), planned("recipe=zero")
    for name in ("base", "zero", "pairs", "cold"):
        assert cold[name].key == specs[name].key
    for name in ("base", "zero", "evaluate_zero"):
        assert zero[name].key == specs[name].key


def test_rounds_go_on_from_each_other(planned: Planned) -> None:
    stages = planned("recipe=expert_iteration")
    assert [stages[name].inputs["self"] for name in ("pairs_1", "pairs_2", "pairs")] == ["base", "cold_1", "cold_2"]
    stages = planned("recipe=openvlthinker")
    buckets = [stages[name].options["rl"].buckets for name in ("final_1", "final_2", "final")]
    assert buckets == [["easy", "medium"], ["medium", "hard"], ["medium", "hard"]]
    more = planned("recipe=expert_iteration", "recipe.loops.round.rounds=5")
    assert len([name for name in more if name.startswith("cold")]) == 5
    assert more["cold_1"].key == planned("recipe=expert_iteration")["cold_1"].key


def test_a_second_stage_of_rl_draws_other_tasks(planned: Planned) -> None:
    for recipe in ("mm_eureka", "r1_searcher_two_stage"):
        stages = planned(f"recipe={recipe}")
        assert stages["first"].stream != stages["final"].stream
        assert stages["final"].inputs["model"] == "first"
